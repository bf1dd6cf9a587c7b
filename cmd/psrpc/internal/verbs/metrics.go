package verbs

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/dynpsrpc/dynpsrpc/cmd/psrpc/internal/app"
	"github.com/dynpsrpc/dynpsrpc/cmd/psrpc/internal/fleetmetrics"
	"github.com/dynpsrpc/dynpsrpc/dynamic/fleet"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/interceptors/metrics"
	"github.com/dynpsrpc/dynpsrpc/interceptors/metrics/prommetrics"
)

// metricsBus and metricsConn are the names of the bus and the conn in the metrics.
const (
	metricsBus  = "main"
	metricsConn = "main"
)

// metricsServer serves the metrics of a verb at /metrics, in the format of Prometheus. They
// describe the verb's calls, conn, bus and process, and the fleet. The zero metricsServer serves
// none.
type metricsServer struct {
	url      string
	address  string
	page     *prometheus.Registry
	observer *prommetrics.Metrics
	listener net.Listener
	server   *http.Server
	served   chan error
}

// listenMetrics listens on an address and makes the conn of the app measure its calls. It must
// be called before the conn is used. If address is empty, no metrics are served.
func listenMetrics(ctx context.Context, a *app.App, address string) (*metricsServer, error) {
	if address == "" {
		return &metricsServer{}, nil
	}
	page := prometheus.NewRegistry()
	page.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	observer, err := prommetrics.New(page)
	if err != nil {
		return nil, err
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("the metrics cannot be served: %w", err)
	}
	a.ConnOptions = append(a.ConnOptions, metrics.New(observer, metrics.WithRequestEvents()))
	return &metricsServer{
		url: "http://" + listener.Addr().String() + "/metrics", address: address,
		page: page, observer: observer, listener: listener, served: make(chan error, 1),
	}, nil
}

// start serves the metrics, including those of the fleet f.
func (m *metricsServer) start(a *app.App, f *fleet.Fleet) {
	if m.listener == nil {
		return
	}
	m.observer.Watch(
		metrics.BusSource(metricsBus, f.Conn().Bus()), metrics.ConnSource(metricsConn, f.Conn()), fleetmetrics.Source(f, a.Logger()))
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(m.page, promhttp.HandlerOpts{MaxRequestsInFlight: 4, EnableOpenMetrics: true}))
	m.server = &http.Server{
		Handler: protected(a, m.address, mux), MaxHeaderBytes: 16 << 10,
		ReadHeaderTimeout: 10 * time.Second, WriteTimeout: time.Minute, IdleTimeout: 2 * time.Minute,
	}
	go func() { m.served <- m.server.Serve(m.listener) }()
}

// close stops the server. It does not wait for running requests.
func (m *metricsServer) close() error {
	switch {
	case m.listener == nil:
		return nil
	case m.server == nil: // not started
		return m.listener.Close()
	}
	err := m.server.Close()
	if served := <-m.served; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	return err
}
