package explorer

import (
	"context"
	"net/http"
	"time"

	"github.com/dynpsrpc/dynpsrpc/bus"
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
	// brokerTimeout limits how long a page waits for the broker.
	brokerTimeout = 3 * time.Second
)

// session is what pages need to know about the explorer.
type session struct {
	Version  string   `json:"version"`
	ReadOnly bool     `json:"readOnly"`
	Doctor   bool     `json:"doctor"`
	Gateway  string   `json:"gateway,omitempty"`
	Prefix   string   `json:"prefix"`
	Refresh  float64  `json:"refresh"`
	Bus      *busInfo `json:"bus"`
}

// busInfo describes the bus and its broker.
type busInfo struct {
	Kind    string   `json:"kind"`
	Prefix  string   `json:"-"`
	Modes   []string `json:"modes,omitempty"`
	Broker  string   `json:"broker,omitempty"`
	Version string   `json:"version,omitempty"`
	Address string   `json:"address,omitempty"`
	Nodes   []string `json:"nodes,omitempty"`
	RTT     *float64 `json:"rtt"`
	Limits  limits   `json:"limits"`
	// Problem is the error of the request for information about the broker, or null.
	Problem *problem `json:"problem,omitempty"`
}

// limits contains the limits of the bus and the broker, in bytes. 0 stands for no limit.
type limits struct {
	FrameSize        int64 `json:"frameSize"`
	OutputBufferHard int64 `json:"outputBufferHard"`
	OutputBufferSoft int64 `json:"outputBufferSoft"`
	MaxMemory        int64 `json:"maxMemory"`
	UsedMemory       int64 `json:"usedMemory"`
	Connections      int   `json:"connections"`
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

// askBus gets information about the broker. If the broker is down, the error is part of the result,
// because the pages show it.
func (e *Explorer) askBus(ctx context.Context) (*busInfo, error) {
	informed, ok := e.fleet.Conn().Bus().(bus.Informed)
	if !ok {
		return &busInfo{Kind: "unknown"}, nil
	}
	settings := informed.Settings()
	info := &busInfo{Kind: settings.Kind, Prefix: settings.Prefix, Modes: settings.Modes, Limits: limits{FrameSize: settings.MaxFrameSize}}
	ctx, cancel := context.WithTimeout(ctx, brokerTimeout)
	defer cancel()
	told, err := informed.Info(ctx)
	if err != nil {
		info.Problem = new(problemOf(err))
		return info, nil
	}
	info.Broker, info.Version, info.Address, info.Nodes = told.Software, told.Version, told.Address, told.Nodes
	info.RTT = new(seconds(told.RoundTrip))
	info.Limits = limits{
		FrameSize: told.MaxFrameSize, OutputBufferHard: told.OutputBuffer.Hard, OutputBufferSoft: told.OutputBuffer.Soft,
		MaxMemory: told.MaxMemory, UsedMemory: told.UsedMemory, Connections: told.Connections,
	}
	return info, nil
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
// whether the page was told of a problem before, so that send must send an event even if nothing
// has changed.
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
