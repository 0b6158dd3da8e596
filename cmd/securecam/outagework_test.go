//go:build unix

package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// freeze stops the server without ending it: its connections stay, and nobody
// answers on them. What it returns lets it go on.
func (b *backend) freeze() (thaw func()) {
	b.t.Helper()
	pids := []int{b.cmd.Process.Pid}
	children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pids[0], pids[0]))
	if err != nil {
		b.t.Fatal(err)
	}
	for child := range strings.FieldsSeq(string(children)) {
		pid, err := strconv.Atoi(child)
		if err != nil {
			b.t.Fatal(err)
		}
		pids = append(pids, pid)
	}
	signal := func(s syscall.Signal) {
		for _, pid := range pids {
			_ = syscall.Kill(pid, s) // a backend may have ended
		}
	}
	signal(syscall.SIGSTOP)
	b.t.Cleanup(func() { signal(syscall.SIGCONT) })
	return func() { signal(syscall.SIGCONT) }
}

// queuedWork is what waits for somebody while servers are gone.
type queuedWork struct {
	t       *testing.T
	user    *apiClient
	camera  *apiClient // whose events are told
	sleeper *apiClient // a camera that is not there
	command string     // for it
	open    atomic.Bool
	tries   atomic.Int32
	heard   chan string // types of messages that the webhook took
	queued  time.Time

	ready, awaited videoUpload
}

type videoUpload struct {
	Video  struct{ ID string }
	Upload struct {
		URL     string
		Headers map[string]string
	}
}

const uploadedFile = "a picture"

// queueWork queues a command for a camera that is away, and a message for a
// webhook that takes none yet.
func queueWork(t *testing.T, user, camera, client *apiClient) *queuedWork {
	t.Helper()
	w := &queuedWork{t: t, user: user, camera: camera, heard: make(chan string, 16), queued: time.Now()}
	hook := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w.tries.Add(1)
		if !w.open.Load() {
			rw.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		body := string(readAll(t, r.Body))
		for _, event := range []string{"motion:started", "motion:ended"} {
			if strings.Contains(body, `"`+event+`"`) {
				w.heard <- event
			}
		}
	}))
	t.Cleanup(hook.Close)
	user.must(http.StatusCreated, "POST", "/webhooks", map[string]string{"name": "hook", "url": hook.URL}, nil)
	camera.must(http.StatusCreated, "POST", "/events/motion/start", map[string]string{}, nil)
	eventually(t, patience, func() string {
		if w.tries.Load() == 0 {
			return "the webhook was not tried"
		}
		return ""
	})
	var info registered
	w.sleeper, info = user.register("camera")
	w.command = client.command(info.Device.ID).ID
	w.ready, w.awaited = w.video(), w.video()
	if status, body := w.put(w.ready); status != http.StatusCreated {
		t.Fatalf("upload: %d %s", status, body)
	}
	user.must(http.StatusOK, "POST", "/videos/"+w.ready.Video.ID+"/complete", nil, nil)
	return w
}

func (w *queuedWork) video() (v videoUpload) {
	w.t.Helper()
	w.user.must(http.StatusCreated, "POST", "/videos/upload-url",
		map[string]any{"name": "a.png", "contentType": "image/png", "size": len(uploadedFile)}, &v)
	return v
}

func (w *queuedWork) put(v videoUpload) (int, []byte) {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.t.Context(), http.MethodPut, v.Upload.URL, strings.NewReader(uploadedFile))
	if err != nil {
		w.t.Fatal(err)
	}
	for name, value := range v.Upload.Headers {
		req.Header.Set(name, value)
	}
	// It waits for the object store, which comes back.
	res, err := (&http.Client{Transport: w.user.http.Transport, Timeout: 2 * time.Minute}).Do(req)
	if err != nil {
		w.t.Error(err)
		return 0, nil
	}
	defer func() { _ = res.Body.Close() }()
	return res.StatusCode, readAll(w.t, res.Body)
}

// withoutObjects is what happens while the object store is gone: what needs it
// says so, what does not is queued, and an upload waits. It returns how to wait
// for that one.
func (w *queuedWork) withoutObjects() (uploaded func()) {
	w.t.Helper()
	unavailable(w.t, w.user, http.MethodGet, "/videos/"+w.ready.Video.ID+"/download-url")
	unavailable(w.t, w.user, http.MethodPost, "/videos/"+w.awaited.Video.ID+"/complete")
	unavailable(w.t, w.user, http.MethodDelete, "/videos/"+w.ready.Video.ID)
	w.camera.must(http.StatusOK, "POST", "/events/motion/end", nil, nil)
	done := make(chan struct{})
	go func() {
		defer close(done)
		if status, body := w.put(w.awaited); status != http.StatusCreated {
			w.t.Errorf("an upload during the outage: %d %s", status, body)
		}
	}()
	return func() {
		<-done
		w.user.must(http.StatusOK, "POST", "/videos/"+w.awaited.Video.ID+"/complete", nil, nil)
	}
}

// delivered holds that all that was queued arrives.
func (w *queuedWork) delivered() {
	w.t.Helper()
	w.open.Store(true)
	awaitCommandID(w.t, w.sleeper.connect(), w.command)
	// Each pause between attempts is at most twice as long as all of the time before, and ten seconds.
	timeout := time.After(2*time.Since(w.queued) + patience)
	for want := map[string]bool{"motion:started": true, "motion:ended": true}; len(want) > 0; {
		select {
		case event := <-w.heard:
			delete(want, event)
		case <-timeout:
			w.t.Fatalf("the webhook did not hear of %v", want)
		}
	}
}
