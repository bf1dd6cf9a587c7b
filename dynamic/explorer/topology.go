package explorer

// topology is the fleet as a graph. Clients lead to services, services to methods, and methods to
// servers, directly or by way of a topic.
type topology struct {
	Nodes []*node `json:"nodes"`
	Edges []*edge `json:"edges"`
	// Truncated reports whether nodes were left out.
	Truncated bool `json:"truncated"`
}

type node struct {
	ID   string `json:"id"`
	Type string `json:"type"`
	Name string `json:"name"`
	// State is the state of a server, "not_serving" if it is not healthy, "psrpc" or "silent".
	State string `json:"state,omitempty"`
}

type edge struct {
	From string `json:"from"`
	To   string `json:"to"`
	// Rate is the number of calls per second, and Errors is the number of failed calls per second.
	// They are null if they are not known.
	Rate   *float64 `json:"rate"`
	Errors *float64 `json:"errors"`
}
