package mock

import (
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

// Delay is a random duration: Base plus or minus up to Jitter.
type Delay struct{ Base, Jitter time.Duration }

// maxDelay is the longest delay and the highest jitter.
const maxDelay = 24 * time.Hour

// ParseDelay parses a delay such as 5ms, 5ms±2ms or 5ms+-2ms.
func ParseDelay(text string) (Delay, error) {
	base, jitter, jittered := strings.Cut(strings.ReplaceAll(text, "+-", "±"), "±")
	d := Delay{}
	var err error
	if d.Base, err = time.ParseDuration(strings.TrimSpace(base)); err == nil && jittered {
		d.Jitter, err = time.ParseDuration(strings.TrimSpace(jitter))
	}
	if err != nil || d.Base < 0 || d.Jitter < 0 || max(d.Base, d.Jitter) > maxDelay {
		return d, errors.NewErrorf(errors.InvalidArgument, "%q is no delay: write it like 5ms or 5ms±2ms", text)
	}
	return d, nil
}

// next returns a random duration within the delay's range, but never a negative one.
func (d Delay) next() time.Duration {
	if d.Jitter <= 0 {
		return d.Base
	}
	return max(0, d.Base-d.Jitter+rand.N(2*d.Jitter+1)) //nolint:gosec // test data
}

// Failures makes a random share of the requests fail.
type Failures struct {
	// Share is the fraction of requests that fail, between 0 and 1.
	Share float64
	// Code is the code of the errors.
	Code errors.ErrorCode
	// Text is the text of the errors. If it is empty, a default text is used.
	Text string
}

// ParseFailures parses text such as "1%:unavailable" or "0.5:not_found:no such order". If the text
// has no code, the code is unavailable.
func ParseFailures(text string) (Failures, error) {
	share, rest, _ := strings.Cut(text, ":")
	number, percent := strings.CutSuffix(strings.TrimSpace(share), "%")
	f := Failures{Code: errors.Unavailable}
	var err error
	if f.Share, err = strconv.ParseFloat(strings.TrimSpace(number), 64); percent {
		f.Share /= 100
	}
	if err != nil || !(f.Share >= 0 && f.Share <= 1) {
		return f, errors.NewErrorf(errors.InvalidArgument,
			"%q does not say how many requests fail: write it like 1%%:unavailable", text)
	}
	if rest != "" {
		f.Code, f.Text, err = parseError(rest)
	}
	return f, err
}

// parseError parses text such as "not_found" or "not_found:no such order".
func parseError(text string) (code errors.ErrorCode, message string, err error) {
	name, message, _ := strings.Cut(text, ":")
	code = errors.ErrorCode(strings.TrimSpace(name))
	if code == errors.OK || !code.Known() {
		return code, message, errors.NewErrorf(errors.InvalidArgument,
			"%q is no error code: examples are unavailable, not_found and invalid_argument", name)
	}
	return code, strings.TrimSpace(message), nil
}

// next returns the error with which the next request fails, or nil.
func (f Failures) next() error {
	if f.Share <= 0 || rand.Float64() >= f.Share { //nolint:gosec // test data
		return nil
	}
	return newError(f.Code, f.Text)
}

func newError(code errors.ErrorCode, text string) error {
	if text == "" {
		text = "the mock was told to fail"
	}
	return errors.NewErrorf(code, "%s", text)
}
