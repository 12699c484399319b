// Command utexo-signer signs the payments of one wallet for an operator that has no keys: as a server within limits of its own, or one at a
// time for a person. docs/signer.md and docs/manual-signing.md are its manuals.
package main

import (
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"k8s.io/utils/clock"

	"github.com/utexo/utexo-operator/internal/amount"
	"github.com/utexo/utexo-operator/internal/bitcoin"
	"github.com/utexo/utexo-operator/internal/keys"
	"github.com/utexo/utexo-operator/internal/signerserver"
)

// version is set when the program is linked.
var version = "unknown"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var err error
	if args := os.Args[1:]; len(args) > 0 && args[0] == "sign" {
		err = sign(ctx, args[1:], os.Stdin, os.Stdout, os.Stderr)
	} else {
		err = run(ctx, args, os.Stdout, os.Stderr)
	}
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "utexo-signer:", err)
		os.Exit(1)
	}
}

const usage = `utexo-signer has the keys of one wallet and signs its payments for a utexo-operator that has none. Whoever asks shows a client
certificate; whatever they ask for, it inspects the PSBT itself and signs nothing beyond the limits below.

  utexo-signer --network mainnet --keys-dir /keys --journal /journal/journal \
    --tls-cert /tls/tls.crt --tls-key /tls/tls.key --client-ca /clients/ca.crt \
    --max-payment-sats 100000 --max-fee-sats 3000 --max-daily-sats 500000

--keys-dir holds the files mnemonic and optionally passphrase, or the files xprvVanilla, xprvColored and masterFingerprint: a Secret as
a Wallet names it, mounted. The journal counts what was signed in the last 24 hours. Keep it on a disk that outlives the process: a new
one counts from zero. Neither limits nor keys change while it runs; certificates are read anew for each connection.

As a command of a person, offline and with none of the flags below, it signs one PSBT: see utexo-signer sign --help.

Without --allow-address, --allow-node and --allow-asset every destination is allowed. With one of them, nothing is but what they name.

Flags:
`

// config is what the flags say.
type config struct {
	listen, health string
	network        bitcoin.Network
	keys, journal  string
	tls            signerserver.TLSFiles
	limits         signerserver.Limits
	showVersion    bool
}

func parse(args []string, stderr io.Writer) (config, error) {
	var c config
	flags := flag.NewFlagSet("utexo-signer", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() {
		fmt.Fprint(stderr, usage)
		flags.PrintDefaults()
	}
	flags.StringVar(&c.listen, "listen", ":8443", "`address` of the protocol, HTTPS with mutual TLS")
	flags.StringVar(&c.health, "health-listen", ":8081", "`address` of /healthz, plain HTTP; empty for none")
	flags.StringVar((*string)(&c.network), "network", "", "`name`: mainnet, testnet, signet or regtest (required)")
	flags.StringVar(&c.keys, "keys-dir", "", "`directory` with the files of the keys (required)")
	flags.StringVar(&c.journal, "journal", "", "`file` that remembers what was signed in the last 24 hours; made where there is none (required)")
	flags.StringVar(&c.tls.Certificate, "tls-cert", "", "`file` with the signer's own certificate chain, PEM (required)")
	flags.StringVar(&c.tls.Key, "tls-key", "", "`file` with the key of --tls-cert, PEM (required)")
	flags.StringVar(&c.tls.ClientCA, "client-ca", "",
		"`file` with the authorities of client certificates, PEM (required). All their clients may ask: have one for this purpose")
	limit := func(into *amount.Sat, name, text string) { flags.Int64Var((*int64)(into), name, 0, text+" (required)") }
	limit(&c.limits.MaxPaymentSats, "max-payment-sats", "the largest amount of one payment, in `sat`, fees not included")
	limit(&c.limits.MaxFeeSats, "max-fee-sats", "what may leave the wallet beside the amount of a payment, in `sat`")
	limit(&c.limits.MaxDailySats, "max-daily-sats", "what may leave the wallet in any 24 hours, fees included, in `sat`")
	list := func(into *[]string, name, text string) {
		flags.Func(name, text+" (may be repeated)", func(value string) error {
			*into = append(*into, value)
			return nil
		})
	}
	list(&c.limits.Addresses, "allow-address", "bitcoin `address` that on-chain sends may go to")
	list(&c.limits.Nodes, "allow-node", "public `key` in hex of a Lightning node that invoices may be of")
	list(&c.limits.Assets, "allow-asset", "`id` of an RGB asset (rgb:…) that may be paid; over Lightning the node must be allowed too")
	flags.Int64Var(&c.limits.MaxAssetAmount, "max-asset-amount", 0,
		"the largest amount of one payment of an asset, in the asset's smallest `unit`; 0 signs no payment of an asset")
	flags.BoolVar(&c.limits.UnprovedAssets, "allow-unproved-assets", false,
		"sign what spends colored coins without proving what becomes of their assets, payments of bitcoin too, for a service that does not\n"+
			"show it. Whoever may ask can then take all assets of the wallet")
	flags.BoolVar(&c.showVersion, "version", false, "print the version and leave")
	if err := flags.Parse(args); err != nil {
		return config{}, err
	}
	if flags.NArg() > 0 {
		return config{}, fmt.Errorf("unexpected argument %q: everything is a flag", flags.Arg(0))
	}
	if c.showVersion {
		return c, nil
	}
	given := map[string]bool{}
	flags.Visit(func(f *flag.Flag) { given[f.Name] = f.Value.String() != "" })
	for _, name := range []string{
		"network", "keys-dir", "journal", "tls-cert", "tls-key", "client-ca", "max-payment-sats", "max-fee-sats", "max-daily-sats",
	} {
		if !given[name] {
			return config{}, fmt.Errorf("--%s is required; see --help", name)
		}
	}
	if _, err := c.network.Params(); err != nil {
		return config{}, errors.New("--network is mainnet, testnet, signet or regtest")
	}
	return c, c.limits.Check(c.network)
}

// run serves until ctx is done.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) (err error) {
	c, err := parse(args, stderr)
	if err != nil {
		return err
	}
	if c.showVersion {
		_, err := fmt.Fprintln(stdout, version)
		return err
	}
	log := slog.New(slog.NewJSONHandler(stderr, nil))
	set, err := readKeys(c.keys, c.network)
	if err != nil {
		return err
	}
	secured, err := c.tls.Config()
	if err != nil {
		return err
	}
	journal, err := signerserver.OpenJournal(c.journal, set.Public(), time.Now())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, journal.Close()) }()
	server, err := signerserver.New(signerserver.Config{Keys: set, Limits: c.limits, Journal: journal, Clock: clock.RealClock{}, Log: log})
	if err != nil {
		return err
	}
	log.Info("starting", "version", version, "network", c.network, "masterFingerprint", set.Public().MasterFingerprint,
		"maxPaymentSats", int64(c.limits.MaxPaymentSats), "maxFeeSats", int64(c.limits.MaxFeeSats), "maxDailySats", int64(c.limits.MaxDailySats),
		"maxAssetAmount", c.limits.MaxAssetAmount, "allowUnprovedAssets", c.limits.UnprovedAssets,
		"spent24hSats", int64(journal.SpentSats(time.Now())), "allowed", len(c.limits.Addresses)+len(c.limits.Nodes)+len(c.limits.Assets))
	return serve(ctx, c, server, secured, log)
}

// readKeys reads the files of a mounted Secret.
func readKeys(directory string, network bitcoin.Network) (*keys.Set, error) {
	data := map[string][]byte{}
	for _, name := range []string{"mnemonic", "passphrase", "xprvVanilla", "xprvColored", "masterFingerprint"} {
		text, err := os.ReadFile(filepath.Join(directory, name))
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("reading the keys: %w", err)
		}
		data[name] = text
	}
	set, err := keys.FromSecret(data, network)
	if err != nil {
		return nil, fmt.Errorf("the keys in %s cannot be used: %w", directory, err)
	}
	return set, nil
}

// serve listens until ctx is done, and lets requests under way finish.
func serve(ctx context.Context, c config, signing *signerserver.Server, secured *tls.Config, log *slog.Logger) error {
	failed := make(chan error, 2)
	var servers []*http.Server
	start := func(what, address string, handler http.Handler, wrap func(net.Listener) net.Listener) error {
		listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
		if err != nil {
			return err
		}
		server := signerserver.HTTPServer(handler, log)
		servers = append(servers, server)
		log.Info("listening", "for", what, "address", listener.Addr().String())
		go func() { failed <- server.Serve(wrap(listener)) }()
		return nil
	}
	err := start("requests", c.listen, signing.Handler(), func(l net.Listener) net.Listener { return tls.NewListener(l, secured) })
	if err == nil && c.health != "" {
		err = start("health", c.health, signing.HealthHandler(), func(l net.Listener) net.Listener { return l })
	}
	if err == nil {
		select {
		case err = <-failed:
		case <-ctx.Done():
			log.Info("stopping")
		}
	}
	shutdown, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	for _, server := range servers {
		err = errors.Join(err, server.Shutdown(shutdown))
	}
	return err
}
