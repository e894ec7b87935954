package server

import (
	"net/http"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/rollbook/rollbook/password"
	"github.com/rollbook/rollbook/repository"
)

// metrics are what a server counts of its requests and of what they cause. Every label has few values, whatever clients send.
type metrics struct {
	requests *prometheus.HistogramVec
	inFlight prometheus.Gauge
	events   *prometheus.CounterVec
}

// The labels of metrics.
const (
	labelOperation = "operation"
	labelStatus    = "status"
	labelEvent     = "event"
)

const (
	// otherOperation stands for what is no operation of the contract: the documentation, OPTIONS, 404 and 405.
	otherOperation = "other"
	// statusHungUp is the status of requests whose clients were gone before there was an answer. nginx uses the same number.
	statusHungUp = 499
)

// newMetrics registers the metrics of a server, or keeps them to itself where there is no registerer.
func newMetrics(to prometheus.Registerer, c Config) *metrics {
	register := promauto.With(to)
	m := &metrics{
		requests: register.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "rollbook_http_request_duration_seconds",
			Help:    "How long requests took until they were answered, by operation of the contract and status; 499 stands for clients that hung up before.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30},
		}, []string{labelOperation, labelStatus}),
		inFlight: register.NewGauge(prometheus.GaugeOpts{
			Name: "rollbook_http_requests_in_flight", Help: "How many requests are being answered.",
		}),
		events: register.NewCounterVec(prometheus.CounterOpts{
			Name: "rollbook_security_events_total", Help: "The audit events that requests caused, by event, also those that share a line.",
		}, []string{labelEvent}),
	}
	for _, event := range requestEvents {
		m.events.WithLabelValues(string(event)) // so that the first one is seen as an increase
	}
	hashing := func(name, help string, value func(password.Load) int) {
		register.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 { return float64(value(c.Hasher.Load())) })
	}
	hashing("rollbook_hashing_slots", "How many passwords are hashed at once at most.", func(l password.Load) int { return l.Slots })
	hashing("rollbook_hashing_slots_in_use", "How many passwords are being hashed.", func(l password.Load) int { return l.InUse })
	hashing("rollbook_hashing_queue_length", "How many requests wait for their turn to hash a password.", func(l password.Load) int { return l.Waiting })
	register.NewCounterFunc(prometheus.CounterOpts{
		Name: "rollbook_hashing_refused_total", Help: "How often a turn to hash a password did not come in time.",
	}, func() float64 { return float64(c.Hasher.Load().Refused) })
	watchPool(register, c.DB)
	return m
}

// watchPool registers the metrics of the connections to the database.
func watchPool(register promauto.Factory, db *repository.DB) {
	register.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "rollbook_database_connections_max", Help: "How many connections to the database there are at most.",
	}, func() float64 { return float64(db.Pool().Most) })
	register.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "rollbook_database_connections_in_use", Help: "How many connections to the database are being used.",
	}, func() float64 { return float64(db.Pool().InUse) })
	register.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "rollbook_database_connections_idle", Help: "How many connections to the database are open and not used.",
	}, func() float64 { return float64(db.Pool().Idle) })
	register.NewCounterFunc(prometheus.CounterOpts{
		Name: "rollbook_database_connection_waits_total", Help: "How often a connection to the database was waited for.",
	}, func() float64 { return float64(db.Pool().Waits) })
	register.NewCounterFunc(prometheus.CounterOpts{
		Name: "rollbook_database_connection_wait_seconds_total", Help: "How long connections to the database were waited for.",
	}, func() float64 { return db.Pool().Waited.Seconds() })
}

// answered counts a request.
func (m *metrics) answered(operation string, status int, took time.Duration) {
	m.requests.WithLabelValues(operation, strconv.Itoa(status)).Observe(took.Seconds())
}

// operationIDs are the names of the contract's operations, by path as Echo spells it and method.
func operationIDs(api *contract) map[string]map[string]string {
	ids := map[string]map[string]string{}
	for _, o := range api.operations {
		for _, path := range spellings(echoPath(o.path)) {
			if ids[path] == nil {
				ids[path] = map[string]string{}
			}
			ids[path][o.method] = o.id
			if o.method == http.MethodGet {
				ids[path][http.MethodHead] = o.id
			}
		}
	}
	return ids
}

// operationOf is the name of the operation that a request is for.
func (s *Server) operationOf(c echo.Context) string {
	if id, ok := s.operationIDs[c.Path()][c.Request().Method]; ok {
		return id
	}
	return otherOperation
}
