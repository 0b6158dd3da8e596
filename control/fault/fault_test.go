package fault_test

import (
	"errors"
	"io"
	"testing"

	"github.com/securecam/securecam/control/fault"
)

func TestWithKeepsSentinelAndCause(t *testing.T) {
	t.Parallel()
	sentinel := fault.New(fault.Conflict, "taken", "That name is taken.")
	err := error(sentinel.With(io.ErrUnexpectedEOF))

	if !errors.Is(err, sentinel) {
		t.Error("the wrapped fault is no longer its sentinel")
	}
	if !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Error("the cause is lost")
	}
	var f *fault.Error
	if !errors.As(err, &f) || f.Kind != fault.Conflict || f.Code != "taken" || f.Message != "That name is taken." {
		t.Errorf("got %+v, want the sentinel's kind, code and message", f)
	}
	if sentinel.Unwrap() != nil {
		t.Error("With changed the sentinel")
	}
}
