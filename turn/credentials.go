package turn

import (
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base64"
	"strconv"
	"strings"
	"time"

	"github.com/pion/stun/v4"
	"github.com/pion/turn/v5"
)

// NewCredentials returns what a client signs in with until now+ttl: by
// draft-uberti-behave-turn-rest-00, section 2.2, the user name is the expiry
// and the user, the password its HMAC under the secret.
func NewCredentials(secret []byte, user string, ttl time.Duration, now time.Time) (username, password string) {
	username = strconv.FormatInt(now.Add(ttl).Unix(), 10) + ":" + user
	return username, passwordOf(secret, username)
}

func passwordOf(secret []byte, username string) string {
	mac := hmac.New(sha1.New, secret)
	mac.Write([]byte(username))
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// parseUsername splits what NewCredentials made.
func parseUsername(username string) (expires time.Time, user string, ok bool) {
	expiry, user, found := strings.Cut(username, ":")
	seconds, err := strconv.ParseInt(expiry, 10, 64)
	if !found || err != nil || user == "" {
		return time.Time{}, "", false
	}
	return time.Unix(seconds, 0), user, true
}

// authenticate returns the key that the request must be signed with. Expired
// credentials open no allocation, but keep and close the one they opened:
// otherwise whoever watches for longer than their lifetime would be cut off.
func (s *Server) authenticate(request *turn.RequestAttributes) (user string, key []byte, ok bool) {
	expires, user, ok := parseUsername(request.Username)
	if !ok || request.Method == stun.MethodAllocate && !s.now().Before(expires) {
		s.stats.authFailures.Add(1)
		return "", nil, false
	}
	// The realm is ours, whatever the request says.
	return user, turn.GenerateAuthKey(request.Username, s.realm, passwordOf(s.secret, request.Username)), true
}
