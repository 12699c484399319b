package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/utexo/utexo-operator/api/v1alpha1"
	"github.com/utexo/utexo-operator/internal/sandbox"
	"github.com/utexo/utexo-operator/internal/testkit"
)

// expected is what each sample comes to.
var expected = map[string]string{
	"Wallet main":                    "Synced",
	"LightningInvoice order-1042":    "Settled",
	"LightningInvoice membership":    "Settled",
	"LightningPayment supplier-1042": "Succeeded",
	"OnchainSend payroll-2026-12":    "Succeeded",
}

// change is one resource as it now is.
type change struct{ resource, phase, reason, message string }

// watchSamples begins to watch the samples. What changed comes out of the channel until the context ends.
func watchSamples(ctx context.Context, cluster *cluster) (<-chan change, error) {
	changes := make(chan change)
	for _, list := range []client.ObjectList{
		&v1alpha1.WalletList{}, &v1alpha1.LightningInvoiceList{}, &v1alpha1.LightningPaymentList{}, &v1alpha1.OnchainSendList{},
	} {
		watcher, err := cluster.client.Watch(ctx, list, client.InNamespace(samplesNamespace))
		if err != nil {
			return nil, fmt.Errorf("watching: %w", err)
		}
		go forward(ctx, watcher, changes)
	}
	return changes, nil
}

func forward(ctx context.Context, watcher watch.Interface, changes chan<- change) {
	defer watcher.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case event, open := <-watcher.ResultChan():
			if !open {
				return
			}
			if seen, ok := changeOf(event.Object); ok {
				select {
				case changes <- seen:
				case <-ctx.Done():
					return
				}
			}
		}
	}
}

func changeOf(object any) (change, bool) {
	ready := func(kind, name, phase string, conditions []metav1.Condition) (change, bool) {
		c := change{resource: kind + " " + name, phase: phase}
		if condition := meta.FindStatusCondition(conditions, v1alpha1.ConditionReady); condition != nil {
			c.reason, c.message = condition.Reason, condition.Message
		}
		return c, true
	}
	switch o := object.(type) {
	case *v1alpha1.Wallet:
		return ready("Wallet", o.Name, "", o.Status.Conditions)
	case *v1alpha1.LightningInvoice:
		return ready("LightningInvoice", o.Name, string(o.Status.Phase), o.Status.Conditions)
	case *v1alpha1.LightningPayment:
		return ready("LightningPayment", o.Name, string(o.Status.Phase), o.Status.Conditions)
	case *v1alpha1.OnchainSend:
		return ready("OnchainSend", o.Name, string(o.Status.Phase), o.Status.Conditions)
	}
	return change{}, false
}

// follow prints a line a change until the samples of these kinds are where they are expected. In last it keeps the newest change of each.
func (d *demo) follow(ctx context.Context, changes <-chan change, last map[string]change, kinds ...string) error {
	for !arrived(last, kinds) {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case now := <-changes:
			before := last[now.resource]
			if before.phase == now.phase && before.reason == now.reason {
				continue
			}
			last[now.resource] = now
			d.say("%-31s %-10s %-18s %s", now.resource, now.phase, now.reason, now.message)
			if now.phase == string(v1alpha1.PaymentFailed) || now.phase == string(v1alpha1.PaymentUnknown) {
				return fmt.Errorf("%s ended as %s: %s", now.resource, now.phase, now.message)
			}
		}
	}
	return nil
}

func arrived(last map[string]change, kinds []string) bool {
	for resource, reason := range expected {
		kind, _, _ := strings.Cut(resource, " ")
		if slices.Contains(kinds, kind) && last[resource].reason != reason {
			return false
		}
	}
	return true
}

// tables prints every resource, the records, and the sandbox's ledger, and holds the ledger against the samples.
func (d *demo) tables(ctx context.Context, cluster *cluster, service *sandboxProcess) error {
	for _, get := range []struct {
		title     string
		arguments []string
	}{
		{"What was declared, and what came of it", []string{"get", "wallets,lightninginvoices,lightningpayments,onchainsends", "-n", samplesNamespace}},
		{"What the operator remembers", []string{"get", "paymentrecords", "-n", testkit.OperatorNamespace}},
	} {
		table, err := cluster.kubectl.Run(ctx, nil, get.arguments...)
		if err != nil {
			return err
		}
		fmt.Fprintf(d.out, "\n%s (kubectl get):\n%s", get.title, table)
	}
	entries, err := service.ledger(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintln(d.out, "\nWhat was really paid (the sandbox's ledger):")
	table := tabwriter.NewWriter(d.out, 0, 0, 3, ' ', 0)
	fmt.Fprintln(table, "MOVEMENT\tSATS\tFEE\tTO\tID\tSIGNATURES")
	moved := map[sandbox.Kind][]sandbox.Entry{}
	for _, entry := range entries {
		moved[entry.Kind] = append(moved[entry.Kind], entry)
		if entry.Kind == sandbox.OnchainIn {
			continue // the coins that the sandbox gives a new wallet
		}
		fmt.Fprintf(table, "%s\t%d\t%d\t%s\t%s\t%s\n", entry.Kind, entry.AmountSats, entry.FeeSats, short(entry.Destination), short(entry.SendID),
			signatures(entry))
	}
	if err := table.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(d.out)
	return d.judge(moved)
}

func signatures(entry sandbox.Entry) string {
	switch {
	case entry.PSBT == nil:
		return "-"
	case entry.PSBT.Valid:
		return "valid"
	}
	return "INVALID: " + entry.PSBT.Problem
}

// judge says whether exactly what the samples declare was paid.
func (d *demo) judge(moved map[sandbox.Kind][]sandbox.Entry) error {
	var problems []error
	for _, want := range []struct {
		kind sandbox.Kind
		sats int64
		what string
	}{
		{sandbox.LightningIn, 5000, "the invoice order-1042"},
		{sandbox.LightningIn, 7000, "the invoice membership"},
		{sandbox.LightningOut, 5000, "the payment supplier-1042"},
		{sandbox.OnchainOut, 20000, "the send payroll-2026-12"},
	} {
		all := moved[want.kind]
		entries := slices.DeleteFunc(slices.Clone(all), func(entry sandbox.Entry) bool {
			return want.kind == sandbox.LightningIn && int64(entry.AmountSats) != want.sats // there are two
		})
		switch {
		case want.kind == sandbox.LightningIn && len(all) != 2:
			problems = append(problems, fmt.Errorf("%d invoices were paid, 2 are declared", len(all)))
		case len(entries) != 1:
			problems = append(problems, fmt.Errorf("%s moved money %d times", want.what, len(entries)))
		case int64(entries[0].AmountSats) != want.sats:
			problems = append(problems, fmt.Errorf("%s moved %d sat instead of %d", want.what, entries[0].AmountSats, want.sats))
		case entries[0].PSBT != nil && !entries[0].PSBT.Valid:
			problems = append(problems, fmt.Errorf("%s came with a PSBT that the chain would refuse: %s", want.what, entries[0].PSBT.Problem))
		}
	}
	if len(problems) == 0 {
		d.say("The ledger agrees: each was paid exactly once, with the amount that was declared.")
	}
	return errors.Join(problems...)
}

// short is text as a table shows it.
func short(text string) string {
	if len(text) <= 24 {
		return text
	}
	return text[:12] + "…" + text[len(text)-11:]
}
