package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/securecam/securecam/bench/api"
)

type apiArgs struct {
	URL         string        `name:"url" required:"" placeholder:"URL" help:"A SecureCam that nobody else uses, without rate limits."`
	CameraURL   string        `name:"camera-url" placeholder:"URL" help:"Another process of the same installation, which cameras connect to."`
	PID         int           `name:"pid" help:"The process that cameras connect to, to see its memory."`
	Duration    time.Duration `default:"10s" help:"Of each step."`
	Workers     int           `default:"8" help:"Requests at a time."`
	Connections int           `default:"5000" help:"Idle gateway connections; 0 leaves them out."`
	JSON        string        `name:"json" placeholder:"FILE" help:"Write the result as JSON, too."`
}

func runAPI(ctx context.Context, a *apiArgs, stdout, stderr io.Writer) error {
	result, err := api.Run(ctx, api.Config{
		URL: a.URL, CameraURL: a.CameraURL, PID: a.PID, Duration: a.Duration, Workers: a.Workers, Connections: a.Connections,
		Progress: func(step string) { fmt.Fprintln(stderr, step) },
	})
	if err != nil {
		return err
	}
	fmt.Fprint(stdout, result.Text())
	if a.JSON == "" {
		return nil
	}
	b, err := json.MarshalIndent(result, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(a.JSON, append(b, '\n'), 0o600)
}
