package natsbus

import (
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/dynpsrpc/dynpsrpc/bus/internal/driver"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/busurl"
)

const (
	defaultName           = "dynpsrpc"
	defaultConnectTimeout = 2 * time.Second
)

// settings is the parsed form of a bus URL.
type settings struct {
	bus            []Option
	conn           []nats.Option
	probeInterval  time.Duration
	connectTimeout time.Duration
	// cert and key are the names of the files with the client certificate and its key.
	cert, key string
}

// parameters maps the name of each URL parameter to a function. The function parses the value of
// the parameter, which is never empty, and stores it in the settings. The package documentation
// describes the parameters.
var parameters = map[string]func(*settings, string) error{
	"name":               connParam(nats.Name),
	"inbox_prefix":       connParam(nats.CustomInboxPrefix),
	"creds":              fileParam(func(file string) nats.Option { return nats.UserCredentials(file) }),
	"nkey":               setNkey,
	"tls_ca":             fileParam(func(file string) nats.Option { return nats.RootCAs(file) }),
	"tls_cert":           func(s *settings, file string) error { s.cert = file; return nil },
	"tls_key":            func(s *settings, file string) error { s.key = file; return nil },
	"tls_first":          flagParam(func(s *settings) { s.conn = append(s.conn, nats.TLSHandshakeFirst()) }),
	"connect_timeout":    durationParam(func(s *settings, d time.Duration) { s.connectTimeout = d }),
	"prefix":             func(s *settings, prefix string) error { s.bus = append(s.bus, WithPrefix(prefix)); return nil },
	"subject_per_method": flagParam(func(s *settings) { s.bus = append(s.bus, WithSubjectPerMethod()) }),
	"monitor":            setMonitor,
	"pending_limit":      intParam(WithPendingLimit),
	"max_control_line":   intParam(WithMaxControlLine),
	"probe_interval":     durationParam(func(s *settings, d time.Duration) { s.probeInterval = d }),
}

// fileParam is like connParam for a parameter whose value is the name of a file. It refuses a value
// that looks like the secret itself, because nats.go repeats the name of an unreadable file in its
// error.
func fileParam(option func(string) nats.Option) func(*settings, string) error {
	return func(s *settings, value string) error {
		if busurl.IsSecret(value) {
			return errors.New("want the name of a file")
		}
		s.conn = append(s.conn, option(value))
		return nil
	}
}

// connParam returns the function for a parameter that sets a connection option.
func connParam(option func(string) nats.Option) func(*settings, string) error {
	return func(s *settings, value string) error {
		s.conn = append(s.conn, option(value))
		return nil
	}
}

// durationParam returns the function for a parameter whose value is a positive duration. The
// function calls set with the duration.
func durationParam(set func(*settings, time.Duration)) func(*settings, string) error {
	return func(s *settings, value string) error {
		duration, err := time.ParseDuration(value)
		if err == nil && duration <= 0 {
			err = errors.New("must be positive")
		}
		set(s, duration)
		return err
	}
}

// flagParam returns the function for a boolean parameter. It calls set if the value is true.
func flagParam(set func(*settings)) func(*settings, string) error {
	return func(s *settings, value string) error {
		on, err := strconv.ParseBool(value)
		if on {
			set(s)
		}
		return err
	}
}

func setNkey(s *settings, file string) error {
	option, err := nats.NkeyOptionFromSeed(file)
	s.conn = append(s.conn, option)
	return err
}

// setMonitor adds the option WithMonitor. It does not check the value, which may contain a
// password, because the error of parseURL could repeat the value. newMonitor checks it later.
func setMonitor(s *settings, value string) error {
	s.bus = append(s.bus, WithMonitor(value))
	return nil
}

// intParam returns the function for a parameter whose value is a number. The function passes the
// number to option and adds the result to the options of the bus.
func intParam(option func(int) Option) func(*settings, string) error {
	return func(s *settings, value string) error {
		number, err := strconv.Atoi(value)
		s.bus = append(s.bus, option(number))
		return err
	}
}

// parseURL parses the URL of a bus. The returned error joins one error for each problem.
func parseURL(u *url.URL) (*settings, error) {
	s := &settings{
		probeInterval:  DefaultProbeInterval,
		connectTimeout: defaultConnectTimeout,
		conn:           []nats.Option{nats.Name(defaultName)},
	}
	problems := driver.NewProblems("nats bus URL: ")
	problems.AddIf(u.Host == "" || strings.Trim(u.Path, "/") != "" || u.Fragment != "",
		"want %s://host:port or %[1]s://host:port,host:port, without a path", u.Scheme)
	query, err := busurl.Query(u)
	problems.AddErr(err)
	for _, name := range slices.Sorted(maps.Keys(query)) {
		value, _ := busurl.Last(query, name)
		set, found := parameters[name]
		if !found {
			if !busurl.IsParameterName(name) || value == "" {
				// If a password contains a question mark that is not percent-encoded, the rest of
				// the password is parsed as the name of a parameter.
				name = "(hidden)"
			}
			problems.Addf("no parameter %q; supported are %s", name, strings.Join(slices.Sorted(maps.Keys(parameters)), ", "))
			continue
		}
		if value == "" {
			problems.Addf("parameter %s is empty", name)
			continue
		}
		if err := set(s, value); err != nil {
			if !busurl.MayShow(value) {
				problems.Addf("parameter %s has an invalid value", name)
				continue
			}
			problems.Addf("parameter %s=%s: %w", name, value, err)
		}
	}
	problems.AddErr(busurl.CheckKeyPair(s.cert, s.key))
	s.bus = append(s.bus, WithProbeInterval(s.probeInterval))
	s.authenticate(u.User)
	return s, problems.Err()
}

// authenticate adds the client certificate and the credentials in user to the connection options. A
// user name without a password is used as a token.
func (s *settings) authenticate(user *url.Userinfo) {
	if s.cert != "" || s.key != "" {
		s.conn = append(s.conn, nats.ClientCert(s.cert, s.key))
	}
	if user == nil {
		return
	}
	if password, ok := user.Password(); ok {
		s.conn = append(s.conn, nats.UserInfo(user.Username(), password))
	} else {
		s.conn = append(s.conn, nats.Token(user.Username()))
	}
}
