// Command utexo-sandbox serves the whole UTEXO API with nothing behind it: a chain, a Lightning node and a counterparty in memory. It
// is for demos and tests; the money is not real and everything is gone when it ends. docs/sandbox.md is its manual.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/utexo/utexo-operator/internal/amount"
	"github.com/utexo/utexo-operator/internal/bitcoin"
	"github.com/utexo/utexo-operator/internal/sandbox"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "utexo-sandbox:", err)
		os.Exit(1)
	}
}

// config is what the flags say.
type config struct {
	listen, adminListen string
	tlsCert, tlsKey     string
	options             sandbox.Options
}

func parse(args []string, stderr io.Writer) (config, error) {
	var c config
	var profile, network string
	var fund, node, channel, fee int64
	o := &c.options
	flags := flag.NewFlagSet("utexo-sandbox", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&c.listen, "listen", "127.0.0.1:8080", "address of the API")
	flags.StringVar(&c.adminListen, "admin-listen", "127.0.0.1:8081", "address of the admin API; that of --listen for one port, empty for none")
	flags.StringVar(&c.tlsCert, "tls-cert", "", "certificate chain (PEM) for HTTPS on both addresses")
	flags.StringVar(&c.tlsKey, "tls-key", "", "key (PEM) of --tls-cert")
	flags.StringVar(&profile, "profile", string(sandbox.Documented), "service to imitate: documented or reference")
	flags.StringVar(&network, "network", string(bitcoin.Regtest), "mainnet, testnet, signet or regtest")
	flags.Uint64Var(&o.Seed, "seed", 1, "where keys, ids and preimages come from")
	flags.Int64Var(&fund, "fund-sats", int64(sandbox.DefaultFundSats), "what a new wallet owns on chain; 0 for nothing")
	flags.Int64Var(&node, "node-sats", int64(sandbox.DefaultNodeSats), "what the reference server's node owns on chain")
	flags.Int64Var(&channel, "channel-sats", int64(sandbox.DefaultChannelSats), "what a node can send, and receive, over Lightning")
	flags.Int64Var(&fee, "routing-fee-sats", int64(sandbox.DefaultRoutingFeeSats), "what a payment costs under the documented profile")
	flags.DurationVar(&o.Timing.Payment, "payment-delay", 2*time.Second, "from pay-invoice-end to a payment's outcome")
	flags.DurationVar(&o.Timing.AutoPay, "autopay-after", -1, "when the counterparty pays an invoice by itself; negative for never")
	flags.DurationVar(&o.Timing.Block, "block-interval", 10*time.Second, "from a transaction to its block; negative for admin's mine alone")
	flags.DurationVar(&o.Timing.Node, "node-latency", 0, "how long the node takes for an answer")
	flags.IntVar(&o.Timing.Speed, "speed", 1, "divides every delay, those of the reference server's own included")
	if err := flags.Parse(args); err != nil {
		return config{}, err
	}
	if flags.NArg() > 0 {
		return config{}, fmt.Errorf("unexpected argument %q: everything is a flag", flags.Arg(0))
	}
	if (c.tlsCert == "") != (c.tlsKey == "") {
		return config{}, errors.New("--tls-cert and --tls-key go together")
	}
	o.Profile, o.Network = sandbox.Profile(profile), bitcoin.Network(network)
	o.FundSats, o.Unfunded = amount.Sat(fund), fund == 0
	o.NodeSats, o.ChannelSats = amount.Sat(node), amount.Sat(channel)
	if o.RoutingFeeSats = amount.Sat(fee); fee == 0 {
		return config{}, errors.New("--routing-fee-sats is 1 at least")
	}
	if o.Timing.Speed < 1 {
		return config{}, errors.New("--speed is 1 at least")
	}
	// A zero delay is none, where the Go options take it for their default.
	for _, delay := range []*time.Duration{&o.Timing.Payment, &o.Timing.AutoPay, &o.Timing.Block} {
		if *delay == 0 {
			*delay = 1
		}
	}
	return c, o.Validate()
}

// run serves until ctx is done.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	c, err := parse(args, stderr)
	if err != nil {
		return err
	}
	server := sandbox.New(c.options)
	api := http.NewServeMux()
	api.Handle("/", server.Handler())
	shared := c.adminListen == c.listen
	if shared {
		api.Handle("/admin/", server.AdminHandler())
	}
	listeners, failed := []*http.Server{}, make(chan error, 2)
	serve := func(name, address string, handler http.Handler) error {
		listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
		if err != nil {
			return err
		}
		s := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second}
		listeners = append(listeners, s)
		scheme := "http"
		if c.tlsCert != "" {
			scheme = "https"
		}
		fmt.Fprintf(stdout, "%s: %s://%s\n", name, scheme, listener.Addr())
		go func() {
			if c.tlsCert != "" {
				failed <- s.ServeTLS(listener, c.tlsCert, c.tlsKey)
			} else {
				failed <- s.Serve(listener)
			}
		}()
		return nil
	}
	err = serve("api", c.listen, api)
	if err == nil && c.adminListen != "" && !shared {
		err = serve("admin", c.adminListen, server.AdminHandler())
	}
	if err == nil {
		err = tick(ctx, server, failed)
	}
	// Requests under way get a moment to finish.
	shutdown, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	for _, s := range listeners {
		err = errors.Join(err, s.Shutdown(shutdown))
	}
	return err
}

// tick lets the sandbox's time pass until ctx is done or a listener fails.
func tick(ctx context.Context, server *sandbox.Server, failed <-chan error) error {
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			server.Advance()
		case err := <-failed:
			return err
		case <-ctx.Done():
			return nil
		}
	}
}
