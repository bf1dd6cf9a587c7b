package registry

import (
	"fmt"
	"strings"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

// Lint reports parts of a service's schema that are probably mistakes, although the service can be
// used. service is a *[Service] or any value that [NewService] accepts. If NewService returns an
// error, Lint returns that error. Otherwise, the errors are of type *[SchemaError], joined into one
// error. Lint returns nil if it has found nothing.
//
// Lint reports services without methods, options that contradict each other, and options that have
// no effect:
//
//   - AFFINITY routing of a subscription, or of a method with single_server, because servers of
//     such methods do not claim requests;
//   - single_server of a subscription or of a method with MULTI routing;
//   - topic parameters or a group without the option topics;
//   - one of the older options multi, affinity_func and queue that contradicts the option type;
//   - one of these older options with the value false, because false has the same effect as true.
//
// A [Registry] logs these problems as a warning, except that it does not warn about services
// without methods. With [WithLint], it refuses every service about which Lint reports a problem.
func Lint(service any) error {
	s, ok := service.(*Service)
	if !ok {
		var err error
		if s, err = NewService(service); err != nil {
			return err
		}
	}
	if s == nil {
		return fmt.Errorf("%w: the service is nil", ErrNoService)
	}
	if len(s.methods) == 0 {
		return noMethodsError(s.descriptor)
	}
	return errors.Join(s.lintMethods()...)
}

// lintMethods returns an error for each problem with the options of the methods.
func (s *Service) lintMethods() []error {
	var problems []error
	for _, m := range s.methods {
		options, err := readOptions(m.descriptor)
		if err != nil {
			continue // this never happens, because newMethod has read the options without an error
		}
		for _, problem := range m.lint(&options) {
			problems = append(problems, m.problem("%s", problem))
		}
	}
	return problems
}

// lint returns a text for each problem with the options of the method.
func (m *Method) lint(o *methodOptions) []string {
	var problems []string
	check := func(bad bool, problem string) {
		if bad {
			problems = append(problems, problem)
		}
	}
	affinity := m.routing == RoutingAffinity
	check(m.kind == KindSubscription && affinity,
		"AFFINITY routing has no effect on a subscription: remove it, or use MULTI for every subscriber")
	check(m.kind == KindSubscription && m.singleServer, "single_server has no effect on a subscription: remove it")
	check(m.kind != KindSubscription && affinity && m.singleServer,
		"AFFINITY routing has no effect with single_server, because servers do not claim requests: remove one of them")
	check(m.kind != KindSubscription && m.routing == RoutingMulti && m.singleServer,
		"single_server has no effect with MULTI routing: remove one of them")
	check(!o.topics && (len(o.topicNames) > 0 || o.group != ""),
		"topic_params has no effect without topics: add option (psrpc.options).topics = true, or remove it")
	older, isOlder := olderRouting[o.routingOneof]
	check(isOlder && o.routingType != 0 && Routing(o.routingType) != m.routing, //nolint:gosec // newMethod checks the range
		fmt.Sprintf("%s contradicts type, and type has no effect: remove one of them", older))
	check(isOlder && !o.routingOneofValue,
		fmt.Sprintf("%s has the value false, but takes effect, because only its presence counts: remove it", older))
	return problems
}

// warn logs the problems with the options of a service that has been added to the registry.
func (o *loadOptions) warn(s *Service) {
	if problems := s.lintMethods(); len(problems) > 0 {
		o.log().Warn("dynpsrpc: service " + string(s.Name()) + " has options that contradict each other or have no effect: " +
			strings.ReplaceAll(errors.Join(problems...).Error(), "\n", "; "))
	}
}

// refusal returns the error with which the registry refuses a service: the problems that Lint
// reports. It returns nil if there are none or if WithLint is not used.
func (o *loadOptions) refusal(s *Service) error {
	if !o.lint {
		return nil
	}
	return Lint(s)
}
