package bus

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"

	"github.com/nats-io/nats-server/v2/server"
)

// clusterName is the same on every node; clusterUser is who nodes say they are.
const (
	clusterName = "securecam"
	clusterUser = "securecam"
)

// Cluster is the embedded server's place among those of other nodes. What they
// say to each other is authenticated by Secret but not encrypted: the port
// belongs into a private network.
type Cluster struct {
	// Node names this server; no two of a cluster may share it.
	Node string
	// Addr is where other nodes reach this one, host:port; an empty host means
	// all addresses, port 0 one that the system picks.
	Addr string
	// Routes are the addresses of nodes, host:port or nats://host:port, at least
	// one; this node may be among them. A node that any of them knows needs no
	// line of its own, and none has to be there yet.
	Routes []string
	// Secret is the same on every node; it is required.
	Secret string
}

func (c *Cluster) apply(o *server.Options) error {
	host, port, err := net.SplitHostPort(c.Addr)
	if err != nil {
		return fmt.Errorf("bus: cluster address %q: %w", c.Addr, err)
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return fmt.Errorf("bus: cluster address %q: %w", c.Addr, err)
	}
	if c.Node == "" || c.Secret == "" || len(c.Routes) == 0 {
		return errors.New("bus: a cluster needs a node's name, a secret and a route")
	}
	o.ServerName = c.Node
	// With DontListen a clustered server never becomes ready: its routes wait
	// for the client port. So there is one, on loopback, for whoever has the
	// token.
	o.DontListen, o.Host, o.Port = false, "127.0.0.1", server.RANDOM_PORT
	o.Cluster = server.ClusterOpts{
		Name: clusterName, Host: host, Port: int(n), Username: clusterUser, Password: c.Secret,
	}
	if n == 0 {
		o.Cluster.Port = server.RANDOM_PORT
	}
	for _, route := range c.Routes {
		u, err := ParseRoute(route)
		if err != nil {
			return err
		}
		u.User = url.UserPassword(clusterUser, c.Secret)
		o.Routes = append(o.Routes, u)
	}
	return nil
}

// ParseRoute reads the address of another node: host:port or nats://host:port.
func ParseRoute(route string) (*url.URL, error) {
	address := strings.TrimSpace(route)
	address = strings.TrimPrefix(address, "nats://")
	host, port, err := net.SplitHostPort(address)
	if _, portErr := strconv.ParseUint(port, 10, 16); err != nil || portErr != nil || host == "" || strings.Contains(host, "@") {
		return nil, errors.New("bus: a route is host:port or nats://host:port")
	}
	return &url.URL{Scheme: "nats", Host: address}, nil
}

// ClusterAddr returns where other nodes reach the embedded server, or "" when
// it has no cluster.
func (b *Bus) ClusterAddr() string {
	if b.embedded == nil || b.embedded.ClusterAddr() == nil {
		return ""
	}
	return b.embedded.ClusterAddr().String()
}
