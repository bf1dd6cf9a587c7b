package interceptors_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"time"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/interceptors"
	"github.com/dynpsrpc/dynpsrpc/interceptors/internal/testservice"
)

func ExampleRetry() {
	failures := 2
	s := testservice.Start(testservice.Config{
		Conn: []dynamic.ConnOption{interceptors.Retry(interceptors.WithAttempts(5))},
		Handle: func(_ context.Context, place testservice.Text) (testservice.Text, error) {
			if failures > 0 {
				failures--
				return nil, errors.NewErrorf(errors.Unavailable, "in the clouds")
			}
			return wrapperspb.String("rain in " + place.GetValue()), nil
		},
	})
	defer s.Close()

	// This call is not retried, because the method may have side effects.
	fmt.Println(s.Call(context.Background(), testservice.Ask, "Rome"))
	// This call is retried, because the method is declared to have no side effects.
	fmt.Println(s.Call(context.Background(), testservice.Look, "Rome"))
	// Output:
	//  in the clouds
	// rain in Rome <nil>
}

// A function can decide for each error whether, and how fast, a call is retried.
func ExampleWithRetryFunc() {
	patient := interceptors.WithRetryFunc(
		func(failed interceptors.FailedAttempt, decision interceptors.RetryDecision) interceptors.RetryDecision {
			if errors.Is(failed.Err, errors.ResourceExhausted) {
				decision.Retry, decision.Wait = true, time.Millisecond
			}
			return decision
		})
	failures := 2
	s := testservice.Start(testservice.Config{
		Conn: []dynamic.ConnOption{interceptors.Retry(patient)},
		Handle: func(_ context.Context, place testservice.Text) (testservice.Text, error) {
			if failures > 0 {
				failures--
				return nil, errors.NewErrorf(errors.ResourceExhausted, "too many questions")
			}
			return wrapperspb.String("rain in " + place.GetValue()), nil
		},
	})
	defer s.Close()

	fmt.Println(s.Call(context.Background(), testservice.Ask, "Rome"))
	// Output: rain in Rome <nil>
}

func ExampleRecovery() {
	report := func(_ context.Context, p dynamic.Panic) { fmt.Println("reported:", p.Method.Name(), p.Value) }
	s := testservice.Start(testservice.Config{
		Server: []dynamic.ServerOption{interceptors.Recovery(slog.New(slog.DiscardHandler), report)},
		Handle: func(context.Context, testservice.Text) (testservice.Text, error) { panic("a secret") },
	})
	defer s.Close()

	_, err := s.Call(context.Background(), testservice.Ask, "Rome")
	fmt.Println("the caller sees:", err)
	// Output:
	// reported: Ask a secret
	// the caller sees: method example.Weather/Ask panicked
}

// plain returns a slog.Handler that omits the attributes that are different in each run.
func plain() slog.Handler {
	return slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{ReplaceAttr: func(_ []string, attribute slog.Attr) slog.Attr {
		if attribute.Key == slog.TimeKey || attribute.Key == "duration" {
			return slog.Attr{}
		}
		return attribute
	}})
}

func ExampleLogging() {
	s := testservice.Start(testservice.Config{Server: []dynamic.ServerOption{interceptors.Logging(slog.New(plain()))}})
	defer s.Close()

	_, _ = s.Call(context.Background(), testservice.Ask, "Rome")
	// Output: level=INFO msg=call side=server method=example.Weather/Ask peer=CLI_weather code=ok request_size=6 response_size=14
}

func ExampleErrorMask() {
	s := testservice.Start(testservice.Config{
		Server: []dynamic.ServerOption{interceptors.ErrorMask(slog.New(slog.DiscardHandler))},
		Handle: func(_ context.Context, place testservice.Text) (testservice.Text, error) {
			if place.GetValue() == "Atlantis" {
				return nil, errors.NewErrorf(errors.NotFound, "there is no Atlantis")
			}
			return nil, errors.New("dial tcp 10.1.2.3: password wrong")
		},
	})
	defer s.Close()

	for _, place := range []string{"Atlantis", "Rome"} {
		_, err := s.Call(context.Background(), testservice.Ask, place)
		fmt.Println(err)
	}
	// Output:
	// there is no Atlantis
	// internal error
}

func ExampleAuth() {
	type user struct{}
	verify := func(ctx context.Context, token string, _ dynamic.RPCInfo) (context.Context, error) {
		if token != "ada's" {
			return nil, errors.New("unknown token")
		}
		return context.WithValue(ctx, user{}, "Ada"), nil
	}
	s := testservice.Start(testservice.Config{
		Server: []dynamic.ServerOption{interceptors.Auth(verify)},
		Conn:   []dynamic.ConnOption{interceptors.AuthToken(interceptors.StaticToken("ada's"))},
		Handle: func(ctx context.Context, _ testservice.Text) (testservice.Text, error) {
			return wrapperspb.String(fmt.Sprint("hello, ", ctx.Value(user{}))), nil
		},
	})
	defer s.Close()

	fmt.Println(s.Call(context.Background(), testservice.Ask, ""))
	fmt.Println(s.Call(context.Background(), testservice.Ask, "", dynamic.WithMetadata(map[string]string{"authorization": "Bearer eve's"})))
	// Output:
	// hello, Ada <nil>
	//  token was not accepted
}

func ExampleAuthToken() {
	s := testservice.Start(testservice.Config{
		Conn: []dynamic.ConnOption{interceptors.AuthToken(interceptors.StaticToken("ada's"))},
		Handle: func(ctx context.Context, _ testservice.Text) (testservice.Text, error) {
			incoming, _ := dynamic.RequestInfoFromContext(ctx)
			return wrapperspb.String(incoming.Metadata["authorization"]), nil
		},
	})
	defer s.Close()

	fmt.Println(s.Call(context.Background(), testservice.Ask, ""))
	// Output: Bearer ada's <nil>
}
