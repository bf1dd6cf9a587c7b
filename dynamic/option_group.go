package dynamic

type serviceOptions []ServiceOption

func (g serviceOptions) applyServer(o *serverOptions) {
	for _, option := range g {
		option.applyServer(o)
	}
}

func (g serviceOptions) applyRegister(o *registerOptions) {
	for _, option := range g {
		option.applyRegister(o)
	}
}

// ServiceOptions makes one option of several, in this order.
func ServiceOptions(options ...ServiceOption) ServiceOption { return serviceOptions(options) }

type connOptionGroup []ConnOption

func (g connOptionGroup) applyConn(o *connOptions) {
	for _, option := range g {
		option.applyConn(o)
	}
}

// ConnOptions makes one option of several, in this order.
func ConnOptions(options ...ConnOption) ConnOption { return connOptionGroup(options) }
