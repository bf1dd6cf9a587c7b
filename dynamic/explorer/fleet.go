package explorer

import (
	"context"
	"net/http"
	"time"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/dynamic/fleet"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/guard"
)

const (
	// sessionFor is how long the information about the broker is cached.
	sessionFor = 10 * time.Second
	// doctorFor is how long a report of the doctor is cached.
	doctorFor = 10 * time.Second
)

// session describes the explorer, the bus and its broker for the pages.
type session struct {
	Version  string   `json:"version"`
	ReadOnly bool     `json:"readOnly"`
	Doctor   bool     `json:"doctor"`
	Gateway  string   `json:"gateway,omitempty"`
	Prefix   string   `json:"prefix"`
	Refresh  float64  `json:"refresh"`
	Bus      *busInfo `json:"bus"`
}

func (e *Explorer) serveSession(w http.ResponseWriter, r *http.Request) error {
	info, err := e.session.get(r.Context())
	if err != nil {
		return err
	}
	return writeJSON(w, r, session{
		Version: dynamic.Version, ReadOnly: e.options.readOnly, Doctor: e.options.doctor != nil,
		Gateway: e.options.gateway,
		Prefix:  info.Prefix, Refresh: e.options.refresh.Seconds(), Bus: info,
	})
}

func (e *Explorer) serveFleet(w http.ResponseWriter, r *http.Request) error {
	current, err := e.poller.get(r.Context())
	if err != nil {
		return err
	}
	return writeJSON(w, r, &current.fleetRows)
}

// change is a change of the fleet as a page shows it.
type change struct {
	At      time.Time `json:"at"`
	Server  string    `json:"server"`
	Kind    string    `json:"kind"`
	Service string    `json:"service,omitempty"`
	Digest  string    `json:"digest,omitempty"`
	Status  string    `json:"status,omitempty"`
	Text    string    `json:"text,omitempty"`
}

func changeOf(c *fleet.Change) change {
	shown := change{At: c.At.UTC(), Server: short(c.ServerID), Kind: c.Kind.String(), Service: short(c.Service), Text: short(c.Text)}
	if c.Digest != (fleet.Digest{}) {
		shown.Digest = c.Digest.String()
	}
	if c.Kind == fleet.ChangeHealth {
		shown.Status = c.Status.String()
	}
	return shown
}

// wholeFleet is an event "fleet" that contains everything, and not only changes.
type wholeFleet struct {
	fleetRows

	Whole bool `json:"whole"`
}

// serveFleetEvents serves an event stream of changes. The first event contains everything, unless
// the page already has a recent state and names its time in the parameter "since".
func (e *Explorer) serveFleetEvents(w http.ResponseWriter, r *http.Request) error {
	sent := e.poller.since(r.URL.Query().Get("since"))
	return e.serveSnapshots(w, r, false, func(s *eventStream, current *snapshot, isOver bool) error {
		if sent == nil {
			sent = current
			return s.send("fleet", wholeFleet{current.fleetRows, true})
		}
		changes, changed := current.since(sent)
		sent = current
		if !changed && !isOver {
			return nil
		}
		return s.send("fleet", changes)
	})
}

// serveSnapshots serves an event stream. It calls send with the result of each poll. isOver reports
// whether a problem that the page shows is over. If it is true, send must send an event even if
// nothing has changed.
func (e *Explorer) serveSnapshots(
	w http.ResponseWriter, r *http.Request, wantsTopics bool, send func(s *eventStream, current *snapshot, isOver bool) error,
) error {
	s, err := e.openEvents(w, r, e.streams, "open pages")
	if err != nil {
		return err
	}
	defer s.close()
	page := e.poller.open(wantsTopics)
	defer page.close()
	var sent *snapshot
	var problem error
	for {
		current, next, failure := e.poller.latest()
		switch {
		case failure != nil:
			if problem == nil || problem.Error() != failure.Error() {
				err = s.send("problem", problemOf(failure))
			}
			problem = failure
		case current != nil && current != sent:
			err = send(s, current, problem != nil)
			sent, problem = current, nil
		}
		if err != nil {
			return nil // the page is gone
		}
		select {
		case <-next:
		case changed := <-page.changes:
			err = s.send("change", changeOf(changed))
		case <-s.ping.C:
			err = s.sendPing()
		case <-s.ctx.Done():
			return nil
		}
		if err != nil {
			return nil // the page is gone
		}
	}
}

func (e *Explorer) serveTopology(w http.ResponseWriter, r *http.Request) error {
	current, err := e.poller.get(r.Context())
	if err != nil {
		return err
	}
	return writeJSON(w, r, current.graph())
}

func (e *Explorer) serveTopologyEvents(w http.ResponseWriter, r *http.Request) error {
	return e.serveSnapshots(w, r, true, func(s *eventStream, current *snapshot, _ bool) error {
		return s.send("topology", current.graph())
	})
}

func (e *Explorer) serveDoctor(w http.ResponseWriter, r *http.Request) error {
	if e.options.doctor == nil {
		return errors.NewErrorf(errors.Unimplemented, "this explorer has no doctor; psrpc explorer has one")
	}
	report, err := e.doctor.get(r.Context())
	if err != nil {
		return err
	}
	return writeJSON(w, r, report)
}

// examine runs the function of WithDoctor. It turns a panic of the function into an error.
func (e *Explorer) examine(ctx context.Context) (report any, err error) {
	err = guard.Call("the doctor", func() (err error) {
		report, err = e.options.doctor(ctx)
		return err
	})
	return report, err
}
