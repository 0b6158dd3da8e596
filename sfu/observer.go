package sfu

// noObserver is the Observer of whoever gives none.
type noObserver struct{}

func (noObserver) PublisherUp(string)                {}
func (noObserver) PublisherDown(string, string)      {}
func (noObserver) ViewerUp(string, string)           {}
func (noObserver) ViewerDown(string, string, string) {}
func (noObserver) Ended(string, string)              {}

// emit queues an event. Events are few (some for each session) and must not get lost, so the queue has no bound but
// that of the sessions. Caller holds mu.
func (s *SFU) emit(event func(Observer)) {
	s.events = append(s.events, event)
	select {
	case s.hasEvent <- struct{}{}:
	default:
	}
}

// observe calls the observer until stopObserver is closed and nothing is left to tell.
func (s *SFU) observe() {
	for {
		stopping := false
		select {
		case <-s.hasEvent:
		case <-s.stopObserver:
			stopping = true
		}
		s.mu.Lock()
		events := s.events
		s.events = nil
		s.mu.Unlock()
		for _, event := range events {
			event(s.cfg.Observer)
		}
		if stopping {
			return
		}
	}
}
