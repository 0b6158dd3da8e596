package main

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var settingLine = regexp.MustCompile(`(?m)^#([A-Z_]+)=`)

// exampleSettings returns .env.example with every line in force, and the names
// in it.
func exampleSettings(t *testing.T) (text string, names []string) {
	t.Helper()
	b, err := os.ReadFile("../../.env.example")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range settingLine.FindAllStringSubmatch(string(b), -1) {
		names = append(names, m[1])
	}
	return settingLine.ReplaceAllString(string(b), "$1="), names
}

// configOf parses a .env of this text and nothing else; names are all settings.
func configOf(t *testing.T, names []string, dotEnv string) Config {
	t.Helper()
	for _, name := range names {
		t.Setenv(name, "") // so that it is restored
		if err := os.Unsetenv(name); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(t.TempDir())
	if err := os.WriteFile(".env", []byte(dotEnv), 0o600); err != nil {
		t.Fatal(err)
	}
	c, _, err := parse([]string{"serve"}, t.Output(), t.Output())
	if err != nil {
		t.Fatalf("parse: %v", err)
	}
	return c.Config
}

// TestExampleIsTheDefault holds that every line of .env.example says what the
// default is.
func TestExampleIsTheDefault(t *testing.T) {
	text, names := exampleSettings(t)
	if len(names) < 30 {
		t.Fatalf("the example has only %v", names)
	}
	want := configOf(t, names, "")
	if got := configOf(t, names, text); !reflect.DeepEqual(got, want) {
		t.Errorf("the example makes\n%+v, the defaults are\n%+v", got, want)
	}
	if got := configOf(t, names, strings.Join(names, "=\n")+"="); !reflect.DeepEqual(got, want) {
		t.Errorf("empty settings make\n%+v, the defaults are\n%+v", got, want)
	}
}

// TestEmptyEnvironment holds that an empty variable of the real environment is
// the default, too, and wins over the file like any other.
func TestEmptyEnvironment(t *testing.T) {
	_, names := exampleSettings(t)
	want := configOf(t, names, "")
	for _, name := range names {
		t.Setenv(name, "")
	}
	if err := os.WriteFile(".env", []byte("PORT=1234"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, _, err := parse([]string{"serve"}, t.Output(), t.Output())
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(c.Config, want) {
		t.Errorf("got %+v, want %+v", c.Config, want)
	}
}

// TestSettingsAreExplained holds that the flags, their help and the example
// name the same settings.
func TestSettingsAreExplained(t *testing.T) {
	t.Parallel()
	_, names := exampleSettings(t)
	listed := map[string]bool{}
	for _, name := range names {
		listed[name] = true
	}
	help := settings()
	flags := map[string]bool{}
	for _, field := range reflect.VisibleFields(reflect.TypeFor[Config]()) {
		if field.Anonymous {
			continue
		}
		name := field.Tag.Get("env")
		flags[name] = true
		if help[name] == "" || !listed[name] {
			t.Errorf("%s: help %q, in .env.example %v", name, help[name], listed[name])
		}
	}
	for name := range help {
		if !flags[name] {
			t.Errorf("%s is explained and no setting", name)
		}
	}
}

func TestSignUpSetting(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		args []string
		want bool
	}{{nil, true}, {[]string{"--no-sign-up"}, false}, {[]string{"--sign-up"}, true}} {
		c, _, err := parse(append([]string{"serve"}, test.args...), t.Output(), t.Output())
		if err != nil || c.SignUp != test.want {
			t.Errorf("%v: got %v, %v", test.args, c.SignUp, err)
		}
	}
}

func TestCertifiedHosts(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c := &Config{
		DataDir: dir, TLSSelfSigned: true, PublicIPs: []string{"203.0.113.7", " 2001:db8::1"},
		BetterAuthBaseURL: "https://cam.example.org:8443",
	}
	tlsConfig, err := tlsConfig(c, c.certifiedHosts())
	if err != nil {
		t.Fatal(err)
	}
	for _, host := range []string{"localhost", "127.0.0.1", "203.0.113.7", "2001:db8::1", "cam.example.org"} {
		if err := tlsConfig.Certificates[0].Leaf.VerifyHostname(host); err != nil {
			t.Errorf("%s: %v", host, err)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "tls.key")); err != nil {
		t.Error(err)
	}
}

func TestClusterSettings(t *testing.T) {
	t.Parallel()
	good := []string{
		"--cluster-routes=10.0.0.2:6222,nats://10.0.0.3:6222", "--database-url=postgres://u:p@db/securecam",
		"--better-auth-secret=0123456789abcdef0123456789abcdef",
		"--minio-endpoint=minio", "--minio-access-key=a", "--minio-secret-key=hushhush",
	}
	tests := map[string]struct {
		args []string
		want string
	}{
		"good":        {good, ""},
		"with NATS":   {append(slices.Clone(good), "--nats-url=nats://n:4222"), "CLUSTER_ROUTES"},
		"SQLite":      {append(slices.Clone(good), "--database-url="), "DATABASE_URL"},
		"own secrets": {append(slices.Clone(good), "--better-auth-secret="), "BETTER_AUTH_SECRET"},
		"own objects": {append(slices.Clone(good), "--minio-endpoint="), "MINIO_ENDPOINT"},
		"no port":     {append(slices.Clone(good), "--cluster-routes=10.0.0.2"), "host:port"},
		"port":        {append(slices.Clone(good), "--cluster-port=0"), "CLUSTER_PORT"},
		"node":        {[]string{"--node-url=cam2.example.org"}, "NODE_URL"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			_, _, err := parse(append([]string{"serve"}, test.args...), t.Output(), t.Output())
			if got := fmt.Sprint(err); (test.want == "") != (err == nil) || !strings.Contains(got, test.want) {
				t.Errorf("got %v, want an error about %q", err, test.want)
			}
		})
	}
}

// TestPeersOfRelays holds that what does nothing is refused.
func TestPeersOfRelays(t *testing.T) {
	t.Parallel()
	for name, setting := range map[string]string{
		"TURN_PEER_NETWORKS": "--turn-peer-networks=10.0.0.0/8", "TURN_PUBLIC_PEERS": "--turn-public-peers",
	} {
		for also, told := range map[string]string{
			"--media-mode=p2p":                                               "",
			"--media-provider=p2p":                                           "",
			"--media-provider=sfu":                                           "MEDIA_MODE=p2p",
			"--media-mode=single_server_sfu --turn-port=-1":                  "MEDIA_MODE=p2p",
			"--media-mode=p2p --turn-port=-1":                                "TURN_PORT",
			"--media-mode=p2p --turn-port=-1 --turn-urls=turn:t.example.org": "TURN_PORT",
		} {
			_, _, err := parse(append([]string{"serve", setting}, strings.Fields(also)...), t.Output(), t.Output())
			got := fmt.Sprint(err)
			if (told == "") != (err == nil) || told != "" && (!strings.Contains(got, told) || !strings.Contains(got, name)) {
				t.Errorf("%s %s: got %v, want it named with %q", setting, also, err, told)
			}
		}
	}
	_, _, err := parse([]string{"serve", "--media-mode=p2p", "--turn-peer-networks=10.0.0.0/33"}, t.Output(), t.Output())
	if err == nil || !strings.Contains(err.Error(), "TURN_PEER_NETWORKS") {
		t.Errorf("a wrong network: %v", err)
	}
}

// TestWrongSettingsAreNamed holds that an operator reads which variable is
// wrong, and what it takes.
func TestWrongSettingsAreNamed(t *testing.T) {
	_, names := exampleSettings(t)
	for setting, told := range map[string]string{
		"PORT=abc":                                  "valid",
		"PORT=70000":                                "0 to 65535",
		"LOG_LEVEL=loud":                            `"info"`,
		"AUTO_MIGRATE=maybe":                        "true",
		"TURN_RELAY_PORT_MIN=99999":                 "16 bit",
		"TURN_URLS=http://x":                        "turn:",
		"TURN_PEER_NETWORKS=10.0.0.0/8":             "MEDIA_MODE=p2p",
		"TURN_PUBLIC_PEERS=true":                    "MEDIA_MODE=p2p",
		"BETTER_AUTH_BASE_URL=cam":                  "http(s)://host[:port]",
		"BETTER_AUTH_TRUSTED_ORIGINS=https://a,b":   "http(s)://host[:port]",
		"BETTER_AUTH_SECRET=short":                  "32 characters",
		"MINIO_PUBLIC_URL=q":                        "http(s)://host[:port]",
		"DATABASE_URL=mysql://x":                    "postgres://",
		"ADMIN_USERNAME=root":                       "ADMIN_PASSWORD",
		"DEVICE_ONLINE_STALE_SECONDS=1":             "5 to 86400",
		"MINIO_PRESIGNED_EXPIRY_SECONDS=9999999999": "60 to 604800",
	} {
		for _, name := range names {
			t.Setenv(name, "")
		}
		name, value, _ := strings.Cut(setting, "=")
		t.Setenv(name, value)
		_, _, err := parse([]string{"serve"}, t.Output(), t.Output())
		if err == nil || !strings.Contains(err.Error(), name) || !strings.Contains(err.Error(), told) {
			t.Errorf("%s: got %v, want it named with %q", setting, err, told)
		}
	}
}
