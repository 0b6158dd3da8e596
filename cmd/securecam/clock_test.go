//go:build unix

package main

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/pion/webrtc/v4"
)

// databaseAhead is what the database's clock is ahead of this machine's.
const databaseAhead = 6 * time.Hour

// shiftedPostgres returns the settings of a database with a clock of its own,
// and a connection to it.
func shiftedPostgres(t *testing.T) ([]string, *pgx.Conn) {
	t.Helper()
	setting := postgresSettings(t)[0]
	u, err := url.Parse(strings.TrimPrefix(setting, "--database-url="))
	if err != nil {
		t.Fatal(err)
	}
	conn, err := pgx.Connect(t.Context(), u.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(t.Context()) })
	clock := fmt.Sprintf(`CREATE FUNCTION clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE
		AS 'SELECT pg_catalog.clock_timestamp() + interval ''%d seconds'''`, int(databaseAhead.Seconds()))
	if _, err := conn.Exec(t.Context(), clock); err != nil {
		t.Fatal(err)
	}
	// What is named is looked up in this order; pg_catalog comes first unless it
	// is named as well.
	query := u.Query()
	query.Set("search_path", query.Get("search_path")+",pg_catalog")
	u.RawQuery = query.Encode()
	return []string{"--database-url=" + u.String()}, conn
}

// TestAllGoByTheDatabasesClock uses a server whose machine has another time than
// its database, and looks at every time that comes of it: in each row, and in
// what is signed for other processes to check.
func TestAllGoByTheDatabasesClock(t *testing.T) {
	t.Parallel()
	database, conn := shiftedPostgres(t)
	app := startApp(t, append(database, "--outgoing-networks=127.0.0.0/8")...)
	user := signUp(t, app.url, "clock@example.org")
	camera, info := user.register("camera")
	client, clientInfo := user.register("client")
	cameraSocket, clientSocket := camera.connect(), client.connect()
	stream := startStream(t, camera, cameraSocket, client, info.Device.ID)
	publisher := publish(t, camera, stream)
	t.Cleanup(func() { _ = publisher.Vanish() })
	awaitRecordingBegun(t, user)
	awaitGrowth(t, play(t, client, stream))
	var c struct {
		Token      string
		ICEServers []webrtc.ICEServer
	}
	client.must(http.StatusOK, "GET", "/streams/"+stream+"/subscribe-credentials", nil, &c)
	wantAhead(t, "a media token", claimed(t, c.Token))
	wantAhead(t, "a device token", claimed(t, info.Token))
	expires, _, _ := strings.Cut(c.ICEServers[1].Username, ":")
	wantAhead(t, "TURN credentials", unix(t, expires))
	client.must(http.StatusOK, "POST", "/streams/"+stream+"/end", map[string]string{}, nil)
	recording := awaitRecording(t, user)
	var download struct{ URL string }
	user.must(http.StatusOK, "GET", "/recordings/"+recording.ID+"/download-url", nil, &download)
	signed, err := url.Parse(download.URL)
	if err != nil {
		t.Fatal(err)
	}
	wantAhead(t, "a signed URL", unix(t, signed.Query().Get("expires")))
	if len(fetch(t, user, download.URL, "")) == 0 {
		t.Error("the signed URL leads to nothing")
	}

	work := queueWork(t, user, camera, client)
	camera.must(http.StatusOK, "POST", "/events/motion/end", map[string]string{}, nil)
	user.must(http.StatusOK, "POST", "/commands/"+work.command+"/cancel", nil, nil)
	user.must(http.StatusOK, "PATCH", "/devices/"+info.Device.ID, map[string]string{"name": "renamed"}, nil)
	user.must(http.StatusOK, "POST", "/api/auth/forget-password", map[string]string{"email": "clock@example.org"}, nil)
	user.must(http.StatusNoContent, "DELETE", "/devices/"+clientInfo.Device.ID, nil, nil)
	<-clientSocket.done
	user.must(http.StatusNoContent, "DELETE", "/recordings/"+recording.ID, nil, nil)
	user.must(http.StatusOK, "POST", "/api/auth/change-password", map[string]any{
		"currentPassword": "correct horse battery", "newPassword": "correct battery horse", "revokeOtherSessions": true,
	}, nil)
	wantRowsAhead(t, conn)
}

// wantAhead holds that a time is by the database's clock, or later.
func wantAhead(t *testing.T, what string, at time.Time) {
	t.Helper()
	if until := time.Until(at); until < databaseAhead-time.Hour {
		t.Errorf("%s has a time that is %v from now by this machine, whose database is %v ahead", what, until, databaseAhead)
	}
}

func unix(t *testing.T, seconds string) time.Time {
	t.Helper()
	n, err := strconv.ParseInt(seconds, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return time.Unix(n, 0)
}

// claimed returns when a token of this server expires.
func claimed(t *testing.T, token string) time.Time {
	t.Helper()
	payload, _, _ := strings.Cut(token, ".")
	raw, err := base64.RawURLEncoding.DecodeString(payload)
	if err != nil {
		t.Fatal(err)
	}
	var claims struct{ Exp int64 }
	if err := json.Unmarshal(raw, &claims); err != nil || claims.Exp == 0 {
		t.Fatalf("%s says no expiry: %v", raw, err)
	}
	return time.Unix(claims.Exp, 0)
}

// wantRowsAhead looks at every column of every table that holds a time.
func wantRowsAhead(t *testing.T, conn *pgx.Conn) {
	t.Helper()
	rows, err := conn.Query(t.Context(), `SELECT table_name, column_name FROM information_schema.columns
		WHERE table_schema = current_schema() AND data_type = 'bigint' AND column_name LIKE '%\_at'`)
	if err != nil {
		t.Fatal(err)
	}
	columns, err := pgx.CollectRows(rows, pgx.RowToStructByPos[struct{ Table, Column string }])
	if err != nil || len(columns) < 40 {
		t.Fatalf("%d columns hold times, %v", len(columns), err)
	}
	seen := 0
	for _, c := range columns {
		var least *int64
		if err := conn.QueryRow(t.Context(), "SELECT MIN("+c.Column+") FROM "+c.Table).Scan(&least); err != nil {
			t.Fatal(err)
		}
		if least != nil {
			seen++
			wantAhead(t, c.Table+"."+c.Column, time.UnixMilli(*least))
		}
	}
	if seen < 30 {
		t.Errorf("only %d columns have rows", seen)
	}
}
