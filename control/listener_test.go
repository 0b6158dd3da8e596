package control

import (
	"net"
	"testing"
	"time"
)

// deadlines is a connection that notes its write deadline.
type deadlines struct {
	net.Conn
	write time.Time
}

func (d *deadlines) SetDeadline(t time.Time) error      { d.write = t; return nil }
func (d *deadlines) SetWriteDeadline(t time.Time) error { d.write = t; return nil }
func (d *deadlines) Write(p []byte) (int, error)        { return len(p), nil }

func TestWritesAreBoundedUntilSomebodyElseDoes(t *testing.T) {
	t.Parallel()
	for name, own := range map[string]func(net.Conn, time.Time) error{
		"deadline": net.Conn.SetDeadline, "write deadline": net.Conn.SetWriteDeadline,
	} {
		inner := &deadlines{}
		conn := &pacedConn{Conn: inner}
		if _, err := conn.Write(nil); err != nil || time.Until(inner.write) < writeTimeout-time.Second {
			t.Errorf("%s: got %v, %v", name, inner.write, err)
		}
		theirs := time.Now().Add(time.Second)
		if err := own(conn, theirs); err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Write(nil); err != nil || !inner.write.Equal(theirs) {
			t.Errorf("%s: got %v, %v, want the owner's", name, inner.write, err)
		}
	}
}
