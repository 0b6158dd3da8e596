package rest_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/danielgtaylor/huma/v2"
	"github.com/gofiber/fiber/v2"

	"github.com/securecam/securecam/control/fault"
	"github.com/securecam/securecam/control/rest"
)

// Error has the name of a type in another package.
type Error struct {
	Body struct {
		Text string `json:"text"`
	}
}

type twoErrors struct {
	Body struct {
		Ours   Error       `json:"ours"`
		Theirs fault.Error `json:"theirs"`
	}
}

func TestDocument(t *testing.T) {
	t.Parallel()
	app := fiber.New(fiber.Config{ErrorHandler: rest.ErrorHandler})
	api := rest.New(app, rest.Config{Version: "1.2.3"})
	rest.Register(api, huma.Operation{Method: http.MethodGet, Path: "/errors/{id}", Errors: []int{404}},
		func(context.Context, *struct {
			ID string `path:"id"`
		},
		) (*twoErrors, error) {
			return &twoErrors{}, nil
		})

	var (
		bodies [4]string
		wait   sync.WaitGroup
	)
	for i := range bodies { // the first requests come at once
		wait.Go(func() { bodies[i] = do(t, app, httptest.NewRequest(http.MethodGet, "/openapi.json", nil)).body })
	}
	wait.Wait()

	var doc struct {
		OpenAPI string
		Info    struct{ Title, Version string }
		Paths   map[string]map[string]struct {
			OperationID string
			Responses   map[string]json.RawMessage
		}
		Components struct{ Schemas map[string]json.RawMessage }
	}
	if err := json.Unmarshal([]byte(bodies[0]), &doc); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(doc.OpenAPI, "3.1") || doc.Info.Title != "SecureCam" || doc.Info.Version != "1.2.3" {
		t.Errorf("got %s %+v", doc.OpenAPI, doc.Info)
	}
	op := doc.Paths["/errors/{id}"]["get"]
	for _, status := range []string{"404", "default"} {
		if !strings.Contains(string(op.Responses[status]), "#/components/schemas/Problem") {
			t.Errorf("%s: got %s, want the problem document", status, op.Responses[status])
		}
	}
	for _, name := range []string{"Problem", "Error", "FaultError"} {
		if len(doc.Components.Schemas[name]) == 0 {
			t.Errorf("schema %s is missing", name)
		}
	}
	if strings.Contains(bodies[0], "ErrorModel") || op.OperationID == "" {
		t.Errorf("got %s", bodies[0])
	}
	for _, path := range []string{"/docs", "/schemas/Problem.json"} {
		if got := do(t, app, httptest.NewRequest(http.MethodGet, path, nil)); got.status != 404 {
			t.Errorf("%s: got %d", path, got.status)
		}
	}
}
