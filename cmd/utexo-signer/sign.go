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
take them from what is to be paid, not from the cluster. Where colored coins are spent, the PSBT has to prove what becomes of their assets.

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
	flags.BoolVar(&c.unproved, "allow-unproved-assets", false,
		"sign what spends colored coins without proving what becomes of their assets, a payment of bitcoin too. The service can then take them all")
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
	policy := c.intent.Policy()
	policy.Assets.AllowUnproved = c.unproved
	describe(stderr, inspection, *policy.Assets)
	if c.txid != "" && c.txid != inspection.Txid {
		return errors.New("the PSBT is of another transaction than --txid names, and nothing was signed")
	}
	if err := inspection.Check(policy); err != nil {
		if refusal, ok := errors.AsType[*psbtcheck.Refusal](err); ok && refusal.Code == psbtcheck.AssetNotProven {
			return fmt.Errorf("nothing was signed, for want of --allow-unproved-assets: %w", err)
		}
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

// describe writes what signing a transaction would mean where it may do with assets what rule says, and what of that is not proved.
func describe(out io.Writer, inspection *psbtcheck.Inspection, rule psbtcheck.AssetRule) {
	fmt.Fprintf(out, "transaction %s on %s\n%d sat leave the wallet, of which %d sat are its fee (%d sat/vB)\n", inspection.Txid, inspection.Network,
		inspection.NetOutflowSats, inspection.FeeSats, inspection.FeeRate)
	for n, output := range inspection.Outputs {
		switch {
		case output.Kind == psbtcheck.OpReturn:
			fmt.Fprintf(out, "output %d holds %d sat and data, which may move assets: OP_RETURN, script %s\n", n, output.ValueSats, inHex(output.Script))
		case output.Kind == psbtcheck.External && output.Address == "":
			fmt.Fprintf(out, "%d sat go to script %s\n", output.ValueSats, inHex(output.Script))
		case output.Kind == psbtcheck.External:
			fmt.Fprintf(out, "%d sat go to %s\n", output.ValueSats, output.Address)
		}
	}
	if sats := inspection.OwnInputs.Colored; sats > 0 {
		fmt.Fprintf(out, "%d sat of colored coins are spent, which may carry assets\n", sats)
	}
	for _, outflow := range inspection.Assets.Outflows {
		fmt.Fprintf(out, "%d units of %s go elsewhere than to outputs of the wallet's colored account\n", outflow.Amount, outflow.AssetID)
	}
	if doubt := inspection.Doubt(rule); doubt != nil {
		fmt.Fprintf(out, "not proved: %s\n", doubt.Message)
	}
}

// inHex is script in hex, cut where it is longer than any that nodes relayed by default for years.
func inHex(script []byte) string {
	const most = 83 // bytes: a script with data is no longer (bitcoin/bitcoin: MAX_OP_RETURN_RELAY, before version 30)
	if len(script) > most {
		return fmt.Sprintf("%x… (%d bytes)", script[:most], len(script))
	}
	return fmt.Sprintf("%x", script)
}
