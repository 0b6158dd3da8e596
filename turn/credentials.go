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

// Principal is for whom an allocation is: a user's device, that watches a
// camera or is it. Device and Camera may be empty. The names hold no dot and no
// colon.
type Principal struct {
	User, Device, Camera string
}

// covers says whether p, whose empty names stand for any, includes another.
func (p Principal) covers(other Principal) bool {
	return (p.User == "" || p.User == other.User) && (p.Device == "" || p.Device == other.Device) &&
		(p.Camera == "" || p.Camera == other.Camera)
}

// NewCredentials returns what a client signs in with until now+ttl: by
// draft-uberti-behave-turn-rest-00, section 2.2, the user name is the expiry
// and the user, the password its HMAC under the secret. The user here is when
// they were issued, in unix milliseconds, and the principal.
func NewCredentials(secret []byte, p Principal, ttl time.Duration, now time.Time) (username, password string) {
	username = strconv.FormatInt(now.Add(ttl).Unix(), 10) + ":" + holder{principal: p, issued: now}.id()
	return username, passwordOf(secret, username)
}

// holder is whose credentials they are, and since when: what a user name says
// behind the expiry.
type holder struct {
	principal Principal
	issued    time.Time
}

// id is the holder as the library knows it.
func (h holder) id() string {
	p := h.principal
	return strings.Join([]string{strconv.FormatInt(h.issued.UnixMilli(), 10), p.User, p.Device, p.Camera}, ".")
}

func parseHolder(id string) (holder, bool) {
	parts := strings.Split(id, ".")
	if len(parts) != 4 || parts[1] == "" {
		return holder{}, false
	}
	ms, err := strconv.ParseInt(parts[0], 10, 64)
	p := Principal{User: parts[1], Device: parts[2], Camera: parts[3]}
	return holder{principal: p, issued: time.UnixMilli(ms)}, err == nil
}

func passwordOf(secret []byte, username string) string {
	mac := hmac.New(sha1.New, secret)
	mac.Write([]byte(username))
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// parseUsername splits what NewCredentials made.
func parseUsername(username string) (expires time.Time, h holder, ok bool) {
	expiry, id, found := strings.Cut(username, ":")
	seconds, err := strconv.ParseInt(expiry, 10, 64)
	if !found || err != nil {
		return time.Time{}, holder{}, false
	}
	h, ok = parseHolder(id)
	return time.Unix(seconds, 0), h, ok
}

// authenticate returns the key that the request must be signed with. Expired
// credentials open no allocation, but keep and close the one they opened:
// otherwise whoever watches for longer than their lifetime would be cut off.
// Revoked ones do nothing.
func (s *Server) authenticate(request *turn.RequestAttributes) (user string, key []byte, ok bool) {
	expires, h, ok := parseUsername(request.Username)
	if !ok || request.Method == stun.MethodAllocate && !s.now().Before(expires) || s.revoked.covers(h) {
		s.stats.authFailures.Add(1)
		return "", nil, false
	}
	// The realm is ours, whatever the request says.
	return h.id(), turn.GenerateAuthKey(request.Username, s.realm, passwordOf(s.secret, request.Username)), true
}
