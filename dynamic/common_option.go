package dynamic

// CommonOption configures [NewServer], [Server.Register] and [NewConn].
type CommonOption interface {
	ServiceOption
	ConnOption
}

type commonOption struct {
	ServiceOption
	ConnOption
}

// CommonOptions makes one option of what it is on a server or a service, and what it is on a conn.
func CommonOptions(service ServiceOption, conn ConnOption) CommonOption {
	return commonOption{service, conn}
}
