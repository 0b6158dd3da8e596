package auth_test

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/securecam/securecam/control/auth"
	"github.com/securecam/securecam/control/fault"
	"github.com/securecam/securecam/store/storetest"
)

// few lets each key try so often.
type few struct {
	mu    sync.Mutex
	limit int
	tried map[string]int
}

func (f *few) Take(_ context.Context, kind, key string) (func(context.Context), error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.tried[kind+key]++; f.tried[kind+key] > f.limit {
		return nil, fault.New(fault.TooMany, "rate_limited", "")
	}
	return func(context.Context) {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.tried[kind+key]--
	}, nil
}

func (f *few) Forget(_ context.Context, kind, key string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.tried, kind+key)
}

// TestAttemptsOfOneNetwork tries from ever new addresses of one IPv6 network,
// as whoever has one address can.
func TestAttemptsOfOneNetwork(t *testing.T) {
	t.Parallel()
	const limit = 3
	e := newEnvOn(t, storetest.SQLite(t), func(c *auth.Config) { c.Attempts = &few{limit: limit, tried: map[string]int{}} })
	for i := range 2 * limit {
		want := 200
		if i >= limit {
			want = 429
		}
		b := e.browser("X-Forwarded-For", fmt.Sprintf("2001:db8:0:1::%x", i+1))
		letter := b.post("/request-password-reset", fmt.Sprintf(`{"email":"ada%d@example.org"}`, i))
		if letter.status != want {
			t.Errorf("letter %d: got %d %s, want %d", i, letter.status, letter.body, want)
		}
		if want == 200 {
			want = 401
		}
		if a := b.signIn(fmt.Sprintf("ada%d@example.org", i), "wrong horse"); a.status != want {
			t.Errorf("sign-in %d: got %d %s, want %d", i, a.status, a.body, want)
		}
	}
	b := e.browser("X-Forwarded-For", "2001:db8:0:2::1")
	b.want(b.signIn("ada@example.org", "wrong horse"), 401, "INVALID_EMAIL_OR_PASSWORD")
}
