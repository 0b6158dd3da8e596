package turn

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/pion/logging"
)

// libraryLog passes the library's warnings and errors on for debugging only:
// whoever sends packets decides how many there are. Below that the library
// logs every packet, so it goes nowhere.
type libraryLog struct{ log *slog.Logger }

// NewLogger is part of logging.LoggerFactory.
func (l libraryLog) NewLogger(string) logging.LeveledLogger { return l }

func (l libraryLog) pass(text string) { l.log.Debug("turn library", slog.String("err", text)) }

func (l libraryLog) passf(format string, args []any) {
	if l.log.Enabled(context.Background(), slog.LevelDebug) {
		l.pass(fmt.Sprintf(format, args...))
	}
}

// The rest is logging.LeveledLogger.

func (l libraryLog) Trace(string)                      {}
func (l libraryLog) Tracef(string, ...any)             {}
func (l libraryLog) Debug(string)                      {}
func (l libraryLog) Debugf(string, ...any)             {}
func (l libraryLog) Info(string)                       {}
func (l libraryLog) Infof(string, ...any)              {}
func (l libraryLog) Warn(text string)                  { l.pass(text) }
func (l libraryLog) Warnf(format string, args ...any)  { l.passf(format, args) }
func (l libraryLog) Error(text string)                 { l.pass(text) }
func (l libraryLog) Errorf(format string, args ...any) { l.passf(format, args) }
