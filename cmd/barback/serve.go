package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"os/user"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/sirupsen/logrus"
	"golang.org/x/sys/unix"

	"barback/handler"
	"barback/handler/auth"
	"barback/handler/barmanapi"
	"barback/handler/gateway"
	"barback/runner"
	"barback/runner/operation"
)

// serveDoor is barback without a verb.
func serveDoor(c *call) error {
	if err := c.parse(0, 0); err != nil {
		return err
	}
	lean()
	ctx, stop := ending()
	defer stop()
	go runner.Rest(ctx.Done())
	h, cfg, log := c.handler(ctx)
	proxy, err := cfg.proxy()
	if err != nil { // the others are served; "config check" says it, too
		log.WithError(err).Error("the trusted proxy is not believed")
	}
	err = gateway.Serve(ctx, h, gateway.Options{IdleTimeout: time.Duration(cfg.IdleTimeout), Drain: cfg.drain(), Proxy: proxy})
	if errors.Is(err, gateway.ErrNoDoor) {
		return usageError(err.Error())
	}
	return err
}

// serveListen is "barback serve".
func serveListen(c *call) error {
	listen := c.flags.String("listen", "127.0.0.1:7480", "`address` to listen on")
	port := c.flags.Int("port", 0, "`number` of the port on 127.0.0.1, as in pg-backup-api")
	if err := c.parse(0, 0); err != nil {
		return err
	}
	if os.Getpid() == 1 {
		return serveAsInit()
	}
	if *port != 0 {
		*listen = net.JoinHostPort("127.0.0.1", strconv.Itoa(*port))
	}
	lean()
	ctx, stop := ending()
	defer stop()
	go runner.Rest(ctx.Done())
	h, cfg, log := c.handler(ctx)
	return gateway.ListenAndServe(ctx, *listen, h, cfg.drain(), func(a net.Addr) {
		log.WithField("address", a.String()).Info("serving")
	})
}

// drain is how long a request may take that waits for Barman: for another's question to end, then for its own. Behind
// systemd, TimeoutStopSec= of barback.service has to be longer.
func (c *config) drain() time.Duration { return 2*time.Duration(c.Barman.Timeout) + 10*time.Second }

// lean keeps a process that serves, or waits for Barman, small: it has little to hold and makes much that is soon not needed.
// GOGC in its environment says something else.
func lean() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(50)
	}
}

// ending is a context that ends when the process is told to.
func ending() (context.Context, context.CancelFunc) {
	return signal.NotifyContext(context.Background(), unix.SIGTERM, unix.SIGINT)
}

// handler builds the handler of all doors. An installation that cannot work still
// answers every request, saying why: under Apache a process that ends is just a 500 in HTML.
func (c *call) handler(ending context.Context) (http.Handler, config, logrus.FieldLogger) {
	cfg, err := loadConfig(*c.configPath)
	log, requests := newLog(c.stderr, cfg.LogLevel), requestLog(c.stderr, cfg.LogLevel)
	if err != nil {
		log.WithError(err).Error("barback cannot work")
		return handler.New(handler.Config{Broken: err, Log: log, Requests: requests, Version: version()}), cfg, log
	}
	return &healing{build: func() (http.Handler, bool) {
		store, err := cfg.store()
		if err != nil {
			log.WithError(err).Error("barback cannot work")
		}
		return handler.New(handler.Config{
			BasePath: cfg.BasePath, MaxBody: int64(cfg.MaxBody), Version: version(), Broken: err,
			Records: store, Barman: cfg.barman(), Auth: cfg.auth(), Audit: cfg.audit(), Launcher: cfg.launcher(store),
			Checks: func() []handler.Check { return checks(cfg) }, Log: log, Requests: requests,
			Unmasked: !cfg.Barman.MaskPasswords, Deadline: time.Duration(cfg.Barman.Deadline),
			OwnConfig: ownConfig{cfg}, Dialect: cfg.dialect(), Ending: ending,
		}), err == nil
	}}, cfg, log
}

// healing looks at each request whether the state directory can be used by now, until it can: a
// process that started before the disk was mounted need not be started again.
type healing struct {
	build func() (http.Handler, bool)
	mu    sync.Mutex
	sound http.Handler
}

func (h *healing) ServeHTTP(w http.ResponseWriter, r *http.Request) { h.handler().ServeHTTP(w, r) }

func (h *healing) handler() http.Handler {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.sound != nil {
		return h.sound
	}
	built, ok := h.build()
	if ok {
		h.sound = built
	}
	return built
}

func (c *config) auth() *auth.Keeper {
	keeper := auth.New(c.StateDir, c.Auth.Peers)
	keeper.Proxy, keeper.MD5 = c.ProxyUser, c.Auth.MD5
	keeper.Keys.Algorithm = c.Barmanapi.TokenAlgorithm
	return keeper
}

func (c *config) dialect() barmanapi.Config {
	return barmanapi.Config{TokenLifetime: time.Duration(c.Barmanapi.TokenLifetime), Async: c.Barmanapi.AsyncCommands, Allowed: c.Barmanapi.AllowedCommands}
}

func (c *config) audit() *auth.Audit { return &auth.Audit{Path: c.Audit.File} }

// proxy is the web server that may name users; the zero one, believed in nothing, if there is none.
func (c *config) proxy() (gateway.Proxy, error) {
	if c.ProxyHeader == "" {
		return gateway.Proxy{}, nil
	}
	u, err := user.Lookup(c.ProxyUser)
	if err != nil {
		return gateway.Proxy{}, fmt.Errorf("trusted_proxy_user: %w", err)
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return gateway.Proxy{}, fmt.Errorf("trusted_proxy_user: %w", err)
	}
	return gateway.Proxy{Header: c.ProxyHeader, UID: uint32(uid)}, nil
}

func (c *config) launcher(store *operation.Store) *runner.Launcher {
	program, err := runner.Program()
	if err != nil {
		program = "/usr/bin/barback"
	}
	return &runner.Launcher{Store: store, Socket: c.Runner.Socket, Program: program, Config: c.path, Timeout: time.Duration(c.Runner.LaunchTimeout), MaxOutput: int64(c.Runner.MaxOutput), Where: c.barman().Where}
}

// status prints OK if a barback answers, as pg-backup-api's verb does.
func status(c *call) error {
	port := c.flags.Int("port", 7480, "`number` of the port on 127.0.0.1")
	url := c.flags.String("url", "", "`URL` of the API, where it is not on this host")
	if err := c.parse(0, 0); err != nil {
		return err
	}
	if *url == "" {
		*url = "http://" + net.JoinHostPort("127.0.0.1", strconv.Itoa(*port))
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	*url = strings.TrimRight(*url, "/")
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, *url+"/status", nil)
	if err != nil {
		return usageError(err.Error())
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("no barback answers: %w", err)
	}
	defer func() { _ = res.Body.Close() }()
	body := make([]byte, 4)
	if n, _ := res.Body.Read(body); res.StatusCode != http.StatusOK || string(body[:n]) != `"OK"` {
		return fmt.Errorf("%s/status answers %s, and not OK", *url, res.Status)
	}
	_, err = fmt.Fprintln(c.stdout, "OK")
	return err
}
