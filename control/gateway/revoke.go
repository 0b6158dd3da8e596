package gateway

import "github.com/securecam/securecam/store"

// Revoked closes the connections in this process whose right has ended: those
// of a device, or of all devices of a user. It never blocks.
func (g *Gateway) Revoked(r store.Revocation) {
	g.mu.Lock()
	var conns []*conn
	for id, d := range g.devices {
		user := r.Kind == store.RevokedUser && d.userID == r.OwnerUserID
		if user || r.Kind == store.RevokedDevice && id == r.TargetID {
			conns = append(conns, d.conns...)
		}
	}
	g.mu.Unlock()
	for _, c := range conns {
		if c.stop(CloseRevoked, "the device's access has ended") {
			g.revoked.Add(1)
		}
	}
}
