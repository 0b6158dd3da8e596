package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/term"

	"github.com/securecam/securecam/control/auth"
	"github.com/securecam/securecam/control/fault"
	"github.com/securecam/securecam/store"
)

const healthTimeout = 4 * time.Second

// migrate brings the database to this version's schema.
func migrate(ctx context.Context, c *Config, stdout io.Writer) error {
	db, err := openStore(ctx, c, newLogger(c, stdout))
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	if err := db.Migrate(ctx); err != nil {
		return fmt.Errorf("migrate the database: %w", err)
	}
	fmt.Fprintln(stdout, "The database is up to date.")
	return nil
}

// createUser makes an account from the command line.
func createUser(ctx context.Context, c *Config, args createUserArgs, stdin *os.File, stdout, stderr io.Writer) error {
	if args.Password == "" {
		var err error
		if args.Password, err = readPassword(stdin, stderr); err != nil {
			return fmt.Errorf("read the password: %w", err)
		}
	}
	if args.Name == "" {
		args.Name, _, _ = strings.Cut(args.Email, "@")
	}
	log := newLogger(c, stdout)
	db, err := openStore(ctx, c, log)
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	if err := prepareSchema(ctx, c, db); err != nil {
		return err
	}
	secrets, err := loadSecrets(c.DataDir, c.BetterAuthSecret)
	if err != nil {
		return err
	}
	if err := db.SetClock(ctx); err != nil {
		return err
	}
	accounts, err := auth.New(auth.Config{Store: db, Secret: secrets.auth, Now: db.Now, Logger: log})
	if err != nil {
		return err
	}
	user, err := accounts.CreateUser(ctx, args.Email, args.Name, args.Password)
	var refused *fault.Error
	if errors.As(err, &refused) {
		return fmt.Errorf("create %s: %s", args.Email, refused.Message)
	}
	if err != nil {
		return fmt.Errorf("create %s: %w", args.Email, err)
	}
	fmt.Fprintf(stdout, "Created %s (%s).\n", user.Email, user.ID)
	return nil
}

// readPassword reads a line, from a terminal after a prompt and unseen.
func readPassword(stdin *os.File, stderr io.Writer) (string, error) {
	if fd := int(stdin.Fd()); term.IsTerminal(fd) {
		fmt.Fprint(stderr, "Password: ")
		defer fmt.Fprintln(stderr)
		password, err := term.ReadPassword(fd)
		return string(password), err
	}
	line, err := bufio.NewReader(stdin).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", err
	}
	return strings.TrimRight(line, "\r\n"), nil
}

// health asks the server of this configuration whether it is ready: what a
// container's health check runs.
func health(ctx context.Context, c *Config) error {
	ctx, cancel := context.WithTimeout(ctx, healthTimeout)
	defer cancel()
	host := c.ListenHost
	if host == "" {
		host = "127.0.0.1"
	}
	url := c.scheme() + "://" + net.JoinHostPort(host, strconv.Itoa(c.Port)) + "/ops/ready"
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	// The certificate is for the names that clients use, not for this address;
	// nothing secret is sent or believed.
	client := http.Client{Transport: &http.Transport{
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // see above
	}}
	res, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("not ready: %w", err)
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("not ready: %s", res.Status)
	}
	return nil
}

func openStore(ctx context.Context, c *Config, log logger) (*store.DB, error) {
	if err := makeDataDir(c); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	db, err := store.Open(ctx, store.Config{URL: c.databaseURL(), Logger: log})
	if err != nil {
		return nil, fmt.Errorf("open the database: %w", err)
	}
	return db, nil
}

// prepareSchema migrates, or refuses a schema that is not this version's when
// the operator migrates by hand.
func prepareSchema(ctx context.Context, c *Config, db *store.DB) error {
	if c.AutoMigrate {
		if err := db.Migrate(ctx); err != nil {
			return fmt.Errorf("migrate the database: %w", err)
		}
		return nil
	}
	if err := db.SchemaReady(ctx); err != nil {
		return fmt.Errorf(`the database has another schema (run "securecam migrate", or set AUTO_MIGRATE=true): %w`, err)
	}
	return nil
}
