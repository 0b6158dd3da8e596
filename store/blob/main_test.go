package blob_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/securecam/securecam/store/blob"
)

// childEnv tells the test binary to write an object until it is killed.
const childEnv = "BLOB_TEST_CHILD"

const (
	killKey   = "killed/object"
	killHead  = 4096
	killChunk = 300_000
)

func TestMain(m *testing.M) {
	if os.Getenv(childEnv) != "" {
		fmt.Fprintln(os.Stderr, writeForEver())
		return
	}
	goleak.VerifyTestMain(m)
}

// writeForEver writes the way a recorder does: a chunk, then a head that
// says how much is good, then a line on standard output.
func writeForEver() error {
	ctx := context.Background()
	open := openMinIOIn
	if os.Getenv(childEnv) == "disk" {
		open = openDiskIn
	}
	s, err := open(os.Getenv("BLOB_TEST_DIR"), os.Getenv("BLOB_TEST_BUCKET"))
	if err != nil {
		return err
	}
	w, err := s.Create(ctx, killKey, "video/webm")
	if err != nil {
		return err
	}
	if _, err := w.Write(make([]byte, killHead)); err != nil {
		return err
	}
	for i := uint64(0); ; i++ {
		if _, err := w.Write(chunk(i)); err != nil {
			return err
		}
		if _, err := w.WriteAt(binary.BigEndian.AppendUint64(nil, uint64(w.Size())), 0); err != nil {
			return err
		}
		if _, err := fmt.Fprintln(os.Stdout, w.Size()); err != nil {
			return err
		}
	}
}

func chunk(i uint64) []byte {
	return bytes.Repeat(binary.BigEndian.AppendUint64(nil, i), killChunk/8)
}

// TestKill kills a writing process with SIGKILL and finishes its object.
func TestKill(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"disk", "minio"} {
		for _, lines := range []int{1, 30, 150} {
			t.Run(fmt.Sprintf("%s/%d", kind, lines), func(t *testing.T) {
				t.Parallel()
				open, bucket := openDiskIn, ""
				if kind == "minio" {
					open, bucket = openMinIOIn, newBucket(t)
				}
				dir := t.TempDir()
				acknowledged := killChild(t, kind, dir, bucket, lines)
				s, err := open(dir, bucket)
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { closeStore(t, s) })
				finishKilled(t, s, acknowledged)
			})
		}
	}
}

// killChild returns the last size that the child had reported.
func killChild(t *testing.T, kind, dir, bucket string, lines int) (acknowledged int64) {
	t.Helper()
	child := exec.CommandContext(t.Context(), os.Args[0])
	child.Env = append(os.Environ(), childEnv+"="+kind, "BLOB_TEST_DIR="+dir, "BLOB_TEST_BUCKET="+bucket)
	var stderr strings.Builder
	child.Stderr = &stderr
	stdout, err := child.StdoutPipe()
	if err == nil {
		err = child.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	r := bufio.NewScanner(stdout)
	for r.Scan() {
		if _, err := fmt.Sscan(r.Text(), &acknowledged); err != nil {
			t.Fatal(err)
		}
		if lines--; lines == 0 {
			err = child.Process.Kill()
		}
	}
	_ = child.Wait() // killed
	if err != nil || lines > 0 {
		t.Fatalf("the child ended by itself: %v %s", err, &stderr)
	}
	return acknowledged
}

func finishKilled(t *testing.T, s blob.Store, acknowledged int64) {
	t.Helper()
	w, err := s.Resume(t.Context(), killKey)
	if err != nil {
		t.Fatalf("Resume: %v", err)
	}
	head := make([]byte, 8)
	if _, err := w.ReadAt(head, 0); err != nil {
		t.Fatal(err)
	}
	size := int64(binary.BigEndian.Uint64(head))
	if size < acknowledged || size > w.Size() {
		t.Fatalf("the head says %d; acknowledged %d, left %d", size, acknowledged, w.Size())
	}
	if err := errors.Join(w.Truncate(size), w.Commit(t.Context())); err != nil {
		t.Fatal(err)
	}
	r, err := s.Open(t.Context(), killKey, killHead, -1)
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(r)
	if err := errors.Join(err, r.Close()); err != nil {
		t.Fatal(err)
	}
	if len(got) != int(size)-killHead {
		t.Fatalf("%d bytes, want %d", len(got), size-killHead)
	}
	for i := uint64(0); len(got) > 0; i++ {
		if !bytes.Equal(got[:killChunk], chunk(i)) {
			t.Fatalf("chunk %d differs", i)
		}
		got = got[killChunk:]
	}
}

func closeStore(t *testing.T, s blob.Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
}
