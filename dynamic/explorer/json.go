package explorer

import (
	"compress/gzip"
	"encoding/json"
	"io"
	"math"
	"mime"
	"net/http"
	"strings"
	"time"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

const (
	typeJSON = "application/json"
	// maxBody is the maximum size of a request, in bytes. It is the default of the gateway.
	maxBody = 4 << 20
	// minCompressed is the minimum size, in bytes, of a response that is compressed.
	minCompressed = 1 << 10
	// writeTimeout is how long a client may take to accept what the explorer writes.
	writeTimeout = 10 * time.Second
	// readTimeout is how long a request may take to arrive.
	readTimeout = 10 * time.Second
	// questionTimeout is the timeout of the requests that the explorer sends to servers for one
	// HTTP request.
	questionTimeout = 15 * time.Second
)

// problem is an error as JSON.
type problem struct {
	Code    errors.ErrorCode `json:"code"`
	Message string           `json:"message"`
	// Line and Column say where in a filter the error is, counted from 1. They are 0 if this is not
	// known.
	Line   int `json:"line,omitempty"`
	Column int `json:"column,omitempty"`
}

// problemOf returns an error as JSON. It contains the whole text, because the pages are for people
// who operate the fleet.
func problemOf(err error) problem {
	var code errors.ErrorCode
	if coded, ok := errors.AsType[errors.Error](err); ok {
		code = coded.Code()
	} else if coded := errors.FromContext(err); coded != nil {
		code = coded.Code()
	}
	if code == errors.OK {
		code = errors.Unknown
	}
	p := problem{Code: code, Message: err.Error()}
	var placed *filterError
	if errors.As(err, &placed) {
		p.Line, p.Column = placed.line, placed.column
	}
	return p
}

// writeError writes an error as the whole response.
func writeError(w http.ResponseWriter, err error) {
	p := problemOf(err)
	encoded, err := json.Marshal(p)
	if err != nil {
		encoded = []byte(`{"code":"internal","message":"the error cannot be encoded"}`)
	}
	w.Header().Set("Content-Type", typeJSON)
	w.Header().Set("Cache-Control", "no-store")
	if p.Code == errors.ResourceExhausted {
		w.Header().Set("Retry-After", "1")
	}
	w.WriteHeader(p.Code.ToHttp())
	_, _ = w.Write(append(encoded, '\n'))
}

// writeJSON writes a value as the whole response.
func writeJSON(w http.ResponseWriter, r *http.Request, value any) error {
	encoded, err := json.Marshal(value)
	if err != nil {
		return errors.NewErrorf(errors.Internal, "the response cannot be encoded: %w", err)
	}
	writeContent(w, r, typeJSON, append(encoded, '\n'))
	return nil
}

// writeContent writes the whole response. It compresses responses of at least minCompressed bytes.
func writeContent(w http.ResponseWriter, r *http.Request, contentType string, content []byte) {
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Vary", "Accept-Encoding")
	if err := http.NewResponseController(w).SetWriteDeadline(time.Now().Add(writeTimeout)); err == nil {
		// Remove the deadline, because the connection may be used for further requests.
		defer func() { _ = http.NewResponseController(w).SetWriteDeadline(time.Time{}) }()
	}
	if len(content) < minCompressed || !acceptsGzip(r) {
		_, _ = w.Write(content)
		return
	}
	w.Header().Set("Content-Encoding", "gzip")
	compressed := gzip.NewWriter(w)
	_, _ = compressed.Write(content)
	_ = compressed.Close()
}

// checkPost refuses POST requests without the header X-Psrpc-Explorer. A page of another site
// cannot send this header without a preflight request, which the explorer refuses. checkPost also
// limits the size of the body.
func checkPost(w http.ResponseWriter, r *http.Request) error {
	if r.Header.Get("X-Psrpc-Explorer") == "" {
		return errors.NewErrorf(errors.PermissionDenied, `the header "X-Psrpc-Explorer: 1" is missing`)
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	return nil
}

// readJSON reads the body of a request into value, which is a pointer. An empty body leaves value
// as it is.
func readJSON(w http.ResponseWriter, r *http.Request, value any) error {
	controller := http.NewResponseController(w)
	_ = controller.SetReadDeadline(time.Now().Add(readTimeout)) // limits clients that send slowly
	body, err := io.ReadAll(r.Body)
	_ = controller.SetReadDeadline(time.Time{})
	if err != nil {
		if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
			return errors.NewErrorf(errors.ResourceExhausted, "the request is larger than %d bytes", tooLarge.Limit)
		}
		return errors.NewErrorf(errors.Canceled, "the request has not arrived: %w", err)
	}
	if len(body) == 0 {
		return nil
	}
	if mediaType, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || mediaType != typeJSON {
		return errors.NewErrorf(errors.InvalidArgument, "the request is not of type %s", typeJSON)
	}
	if err := json.Unmarshal(body, value); err != nil {
		return errors.NewErrorf(errors.InvalidArgument, "the request is not as expected: %w", err)
	}
	return nil
}

// seconds returns a duration as a number of seconds, rounded to three digits.
func seconds(d time.Duration) float64 { return rounded(d.Seconds()) }

// rounded returns a number with three significant digits, which keeps the responses of large fleets
// short.
func rounded(x float64) float64 {
	if x == 0 || math.IsNaN(x) || math.IsInf(x, 0) {
		return 0
	}
	scale := math.Pow(10, 2-math.Floor(math.Log10(math.Abs(x))))
	if math.IsInf(scale, 0) || scale == 0 {
		return 0
	}
	// Dividing by a power of ten gives the float64 nearest to the decimal number. Multiplying by
	// the inverse of the power does not always.
	if scale < 1 {
		return math.Round(x*scale) * math.Round(1/scale)
	}
	return math.Round(x*scale) / scale
}

// whenKnown returns a time, or nil for the zero time.
func whenKnown(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

// acceptsGzip reports whether the client accepts compressed responses. It ignores weights such as
// "gzip;q=0", which browsers do not send.
func acceptsGzip(r *http.Request) bool {
	return strings.Contains(r.Header.Get("Accept-Encoding"), "gzip")
}
