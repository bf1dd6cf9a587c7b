package breaker_test

import (
	"context"
	"fmt"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/interceptors/breaker"
	"github.com/dynpsrpc/dynpsrpc/interceptors/internal/testservice"
)

func ExampleNew() {
	s := testservice.Start(testservice.Config{
		Conn: []dynamic.ConnOption{breaker.New(breaker.WithThreshold(0.5, 2))},
		Handle: func(context.Context, testservice.Text) (testservice.Text, error) {
			return nil, errors.NewErrorf(errors.Unavailable, "down")
		},
	})
	defer s.Close()

	for range 3 {
		_, err := s.Call(context.Background(), testservice.Ask, "Rome")
		fmt.Println(err)
	}
	// Output:
	// down
	// down
	// method example.Weather/Ask not called: circuit breaker is open
}
