package api

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
)

const maxBody = 4 << 20

// caller is a user's browser or a device.
type caller struct {
	base  string
	http  *http.Client
	token string // of a device; empty for a browser
}

// device is a registered device as it talks to the server.
type device struct {
	caller
	id string
}

// register makes a device of the browser's user.
func (c caller) register(ctx context.Context, role string) (device, error) {
	var out struct {
		Device struct {
			ID string `json:"id"`
		} `json:"device"`
		Token string `json:"token"`
	}
	in := map[string]string{"name": "bench " + role, "role": role, "recordingPolicy": "off"}
	if err := c.call(ctx, "POST", "/devices/register", in, &out); err != nil {
		return device{}, err
	}
	plain := &http.Client{Transport: c.http.Transport, Timeout: c.http.Timeout}
	return device{caller{base: c.base, http: plain, token: out.Token}, out.Device.ID}, nil
}

// call sends a request and decodes the answer into out, which may be nil.
func (c caller) call(ctx context.Context, method, path string, in, out any) error {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, body)
	if err != nil {
		return err
	}
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	} else {
		req.Header.Set("Origin", c.base)
	}
	res, err := c.http.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	got, err := io.ReadAll(io.LimitReader(res.Body, maxBody))
	if err != nil {
		return err
	}
	if res.StatusCode/100 != 2 {
		return fmt.Errorf("api: %s %s answered %s: %.300s", method, path, res.Status, got)
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(got, out)
}
