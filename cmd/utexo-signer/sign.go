package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/utexo/utexo-operator/internal/amount"
	"github.com/utexo/utexo-operator/internal/bitcoin"
	"github.com/utexo/utexo-operator/internal/psbtcheck"
	"github.com/utexo/utexo-operator/internal/signer"
)

const signUsage = `utexo-signer sign signs one PSBT for a person, offline: it reads the unsigned PSBT of a payment's status.signing.psbt, inspects it as the
operator does, and writes the signed one, for a PaymentSignature. It signs nothing that takes more from the wallet than the flags say:
take them from what is to be paid, not from the cluster.

  utexo-signer sign --network mainnet --keys-dir /media/keys --amount-sats 5000 --max-fee-sats 3000 < unsigned.psbt > signed.psbt

--keys-dir holds the files mnemonic and optionally passphrase, or the files xprvVanilla, xprvColored and masterFingerprint. What the
transaction does is written to the standard error, with --dry-run nothing else. The PSBT commits to no invoice: over Lightning the wallet
pays the service, which pays the payee.

Flags:
`

// signing is what the flags of sign say.
type signing struct {
	network    bitcoin.Network
	keys, psbt string
	txid       string
	intent     signer.Intent
	unproved   bool
	dryRun     bool
}

func parseSign(args []string, stderr io.Writer) (signing, error) {
	c := signing{intent: signer.Intent{Kind: signer.LightningPayment}}
	var asset signer.Asset
	var onchain bool
	flags := flag.NewFlagSet("utexo-signer sign", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() {
		fmt.Fprint(stderr, signUsage)
		flags.PrintDefaults()
	}
	flags.StringVar((*string)(&c.network), "network", "", "`name`: mainnet, testnet, signet or regtest (required)")
	flags.StringVar(&c.keys, "keys-dir", "", "`directory` with the files of the keys (required)")
	flags.StringVar(&c.psbt, "psbt", "-", "`file` with the unsigned PSBT in base64; - is the standard input")
	flags.StringVar(&c.txid, "txid", "", "sign the transaction of this `id` only, as a payment's status.signing.txid says it")
	flags.Int64Var((*int64)(&c.intent.AmountSats), "amount-sats", 0, "what the payee gets, in `sat`; of an asset that is sent on-chain 0 (required)")
	flags.Int64Var((*int64)(&c.intent.MaxFeeSats), "max-fee-sats", 0, "what may leave the wallet beside the amount, in `sat` (required)")
	flags.BoolVar(&onchain, "onchain", false, "it is an OnchainSend; without it, a LightningPayment")
	flags.Int64Var((*int64)(&c.intent.FeeRate), "fee-rate", 0, "spec.feeRate of an OnchainSend, in `sat` per vbyte")
	flags.StringVar(&asset.ID, "asset-id", "", "`id` of the RGB asset that is paid (rgb:…)")
	flags.Int64Var(&asset.Amount, "asset-amount", 0, "how much of the asset, in its smallest `unit`")
	flags.StringVar(&c.intent.Destination, "rgb-invoice", "", "RGB `invoice` that an OnchainSend of an asset pays")
	flags.BoolVar(&c.unproved, "allow-unproved-assets", false, "sign a payment of an asset of which the PSBT does not prove what becomes of it")
	flags.BoolVar(&c.dryRun, "dry-run", false, "inspect, and sign nothing")
	if err := flags.Parse(args); err != nil {
		return signing{}, err
	}
	if flags.NArg() > 0 {
		return signing{}, fmt.Errorf("unexpected argument %q: everything is a flag", flags.Arg(0))
	}
	given := map[string]bool{}
	flags.Visit(func(f *flag.Flag) { given[f.Name] = true })
	for _, name := range []string{"network", "keys-dir", "amount-sats", "max-fee-sats"} {
		if !given[name] {
			return signing{}, fmt.Errorf("--%s is required; see sign --help", name)
		}
	}
	if onchain {
		c.intent.Kind = signer.OnchainSend
	}
	if given["asset-id"] || given["asset-amount"] {
		c.intent.Asset = &asset
	}
	_, err := c.network.Params()
	switch {
	case err != nil:
		return signing{}, errors.New("--network is mainnet, testnet, signet or regtest")
	case !isSats(c.intent.AmountSats), !isSats(c.intent.MaxFeeSats):
		return signing{}, errors.New("--amount-sats and --max-fee-sats are amounts of bitcoin, from 0")
	case c.intent.FeeRate < 0 || c.intent.FeeRate > 1000:
		return signing{}, errors.New("--fee-rate is from 0 to 1000")
	case c.intent.Asset != nil && (asset.ID == "" || asset.Amount <= 0):
		return signing{}, errors.New("--asset-id and --asset-amount belong together")
	case onchain && c.intent.Asset != nil && c.intent.Destination == "":
		return signing{}, errors.New("--rgb-invoice is required to send an asset on-chain")
	}
	return c, nil
}

func isSats(sats amount.Sat) bool { return sats >= 0 && sats <= amount.MaxSat }

// sign signs one PSBT.
func sign(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) error {
	c, err := parseSign(args, stderr)
	if err != nil {
		return err
	}
	unsigned, err := c.read(stdin)
	if err != nil {
		return err
	}
	set, err := readKeys(c.keys, c.network)
	if err != nil {
		return err
	}
	inspection, err := psbtcheck.Inspect(unsigned, set.Public())
	if err != nil {
		return err
	}
	describe(stderr, inspection)
	if c.txid != "" && c.txid != inspection.Txid {
		return errors.New("the PSBT is of another transaction than --txid names, and nothing was signed")
	}
	policy := c.intent.Policy()
	if c.unproved {
		policy.Assets.AllowUnproved = true
	}
	if err := inspection.Check(policy); err != nil {
		return fmt.Errorf("nothing was signed: %w", err)
	}
	if c.dryRun {
		return nil
	}
	signed, err := signer.NewLocal(set).Sign(ctx, signer.Request{UnsignedPSBT: unsigned, Policy: policy, Intent: c.intent})
	if err != nil {
		return fmt.Errorf("nothing was signed: %w", err)
	}
	_, err = fmt.Fprintln(stdout, signed.PSBT)
	return err
}

// read reads the unsigned PSBT, with the line break that a file ends with.
func (c signing) read(stdin io.Reader) (string, error) {
	from := stdin
	if c.psbt != "-" {
		file, err := os.Open(c.psbt)
		if err != nil {
			return "", fmt.Errorf("reading the PSBT: %w", err)
		}
		defer file.Close() //nolint:errcheck // it was only read
		from = file
	}
	text, err := io.ReadAll(io.LimitReader(from, 2*psbtcheck.MaxBytes))
	if err != nil {
		return "", fmt.Errorf("reading the PSBT: %w", err)
	}
	return strings.TrimSpace(string(text)), nil
}

// describe writes what signing a transaction would mean.
func describe(out io.Writer, inspection *psbtcheck.Inspection) {
	fmt.Fprintf(out, "transaction %s on %s\n%d sat leave the wallet, of which %d sat are its fee (%d sat/vB)\n", inspection.Txid, inspection.Network,
		inspection.NetOutflowSats, inspection.FeeSats, inspection.FeeRate)
	for _, output := range inspection.Outputs {
		if output.Kind != psbtcheck.External {
			continue
		}
		to := output.Address
		if to == "" {
			to = fmt.Sprintf("script %x", output.Script)
		}
		fmt.Fprintf(out, "%d sat go to %s\n", output.ValueSats, to)
	}
}
