package registry

// Replace is like [Registry.Register], but also replaces a registered service with the same full
// name. It does so in one step, so that the service can be looked up at all times. Replace fails
// with [ErrWireNameTaken] if a service with another full name uses the wire name. Calls that
// already use the old service or its methods are not affected.
func (r *Registry) Replace(sd any, opts ...Option) (*Service, error) {
	s, err := r.build(sd, opts)
	if err != nil {
		return nil, err
	}
	old, err := r.swap(s)
	if err != nil {
		return nil, err
	}
	if old != nil && old.wireName == s.wireName && old.descriptor == s.descriptor {
		return old, nil
	}
	r.options.warn(s)
	return s, nil
}

// swap registers s in place of the service with the same full name. It returns the old service, or
// nil if there is none. If both have the same descriptor and wire name, swap changes nothing.
func (r *Registry) swap(s *Service) (old *Service, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	old, exists := r.Service(string(s.Name()))
	if other, taken := r.ServiceByWireName(s.wireName); taken && other != old {
		return nil, wireNameTaken(s, other)
	}
	if exists && old.descriptor == s.descriptor && old.wireName == s.wireName {
		return old, nil
	}
	r.insertLocked(s)
	if exists {
		r.types.removeFile(old.descriptor.ParentFile())
		if old.wireName != s.wireName {
			r.byWireName.Delete(old.wireName)
		}
	}
	r.generation.Add(1)
	return old, nil
}
