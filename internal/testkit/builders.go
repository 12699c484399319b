package testkit

import (
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/utexo/utexo-operator/api/v1alpha1"
)

// DefaultNamespace is where the builders put an object unless told otherwise. Every API server has it.
const DefaultNamespace = "default"

// Builders start from what the API server accepts, but for what a payment or an invoice is about, which the case says. They have the
// types' own words and never check: a case may build what must be refused. Obj returns a copy, so that one builder can make many.

// WalletBuilder builds a Wallet.
type WalletBuilder struct{ obj v1alpha1.Wallet }

// MakeWallet starts a Wallet on regtest, at a service that nobody runs, with its keys in a Secret of the Wallet's own name.
func MakeWallet(name string) *WalletBuilder {
	return &WalletBuilder{v1alpha1.Wallet{
		ObjectMeta: makeMeta(name),
		Spec: v1alpha1.WalletSpec{
			Network:  v1alpha1.NetworkRegtest,
			Endpoint: v1alpha1.Endpoint{URL: "https://utexo.invalid", Profile: v1alpha1.ProfileConservative},
			Keys:     v1alpha1.WalletKeys{SecretRef: &v1alpha1.LocalReference{Name: name}},
		},
	}}
}

// Obj returns the Wallet.
func (b *WalletBuilder) Obj() *v1alpha1.Wallet { return b.obj.DeepCopy() }

// Namespace sets metadata.namespace.
func (b *WalletBuilder) Namespace(namespace string) *WalletBuilder {
	b.obj.Namespace = namespace
	return b
}

// Annotation sets one annotation.
func (b *WalletBuilder) Annotation(key, value string) *WalletBuilder {
	metav1.SetMetaDataAnnotation(&b.obj.ObjectMeta, key, value)
	return b
}

// Network sets spec.network.
func (b *WalletBuilder) Network(network v1alpha1.Network) *WalletBuilder {
	b.obj.Spec.Network = network
	return b
}

// URL sets spec.endpoint.url and, as the URL of an httptest.Server needs it, insecure where it is plain HTTP.
func (b *WalletBuilder) URL(url string) *WalletBuilder {
	b.obj.Spec.Endpoint.URL = url
	b.obj.Spec.Endpoint.Insecure = strings.HasPrefix(url, "http://")
	return b
}

// Timeout sets spec.endpoint.timeout.
func (b *WalletBuilder) Timeout(timeout time.Duration) *WalletBuilder {
	b.obj.Spec.Endpoint.Timeout = &metav1.Duration{Duration: timeout}
	return b
}

// Profile sets spec.endpoint.profile.
func (b *WalletBuilder) Profile(profile v1alpha1.ServerProfile) *WalletBuilder {
	b.obj.Spec.Endpoint.Profile = profile
	return b
}

// AssetPolicy sets spec.signer.assetPolicy.
func (b *WalletBuilder) AssetPolicy(policy v1alpha1.AssetPolicy) *WalletBuilder {
	b.obj.Spec.Signer = &v1alpha1.WalletSigner{AssetPolicy: policy}
	return b
}

// Token sets spec.endpoint.tokenSecretRef.
func (b *WalletBuilder) Token(secret, key string) *WalletBuilder {
	b.obj.Spec.Endpoint.TokenSecretRef = &v1alpha1.KeyReference{Name: secret, Key: key}
	return b
}

// KeysFrom sets spec.keys to the Secret of that name.
func (b *WalletBuilder) KeysFrom(secret string) *WalletBuilder {
	b.obj.Spec.Keys = v1alpha1.WalletKeys{SecretRef: &v1alpha1.LocalReference{Name: secret}}
	return b
}

// WatchOnly sets spec.keys to public keys.
func (b *WalletBuilder) WatchOnly(xpubVanilla, xpubColored, masterFingerprint string) *WalletBuilder {
	b.obj.Spec.Keys = v1alpha1.WalletKeys{WatchOnly: &v1alpha1.WatchOnlyKeys{
		XpubVanilla: xpubVanilla, XpubColored: xpubColored, MasterFingerprint: masterFingerprint,
	}}
	return b
}

// Suspend sets spec.suspend to true.
func (b *WalletBuilder) Suspend() *WalletBuilder {
	b.obj.Spec.Suspend = true
	return b
}

// AcknowledgedEpoch sets spec.acknowledgedEpoch.
func (b *WalletBuilder) AcknowledgedEpoch(epoch string) *WalletBuilder {
	b.obj.Spec.AcknowledgedEpoch = epoch
	return b
}

// LightningInvoiceBuilder builds a LightningInvoice.
type LightningInvoiceBuilder struct{ obj v1alpha1.LightningInvoice }

// MakeLightningInvoice starts a LightningInvoice of the Wallet main. The case says AmountSats or Asset.
func MakeLightningInvoice(name string) *LightningInvoiceBuilder {
	return &LightningInvoiceBuilder{v1alpha1.LightningInvoice{
		ObjectMeta: makeMeta(name),
		Spec:       v1alpha1.LightningInvoiceSpec{WalletRef: v1alpha1.WalletReference{Name: "main"}},
	}}
}

// Obj returns the LightningInvoice.
func (b *LightningInvoiceBuilder) Obj() *v1alpha1.LightningInvoice { return b.obj.DeepCopy() }

// Namespace sets metadata.namespace.
func (b *LightningInvoiceBuilder) Namespace(namespace string) *LightningInvoiceBuilder {
	b.obj.Namespace = namespace
	return b
}

// Annotation sets one annotation.
func (b *LightningInvoiceBuilder) Annotation(key, value string) *LightningInvoiceBuilder {
	metav1.SetMetaDataAnnotation(&b.obj.ObjectMeta, key, value)
	return b
}

// Wallet sets spec.walletRef.
func (b *LightningInvoiceBuilder) Wallet(name string) *LightningInvoiceBuilder {
	b.obj.Spec.WalletRef.Name = name
	return b
}

// AmountSats sets spec.amountSats, in sat.
func (b *LightningInvoiceBuilder) AmountSats(sats int64) *LightningInvoiceBuilder {
	b.obj.Spec.AmountSats = &sats
	return b
}

// Asset sets spec.asset, its amount in the asset's smallest unit.
func (b *LightningInvoiceBuilder) Asset(id string, amount int64) *LightningInvoiceBuilder {
	b.obj.Spec.Asset = &v1alpha1.AssetAmount{ID: id, Amount: amount}
	return b
}

// Expiry sets spec.expirySeconds, whole seconds of expiry.
func (b *LightningInvoiceBuilder) Expiry(expiry time.Duration) *LightningInvoiceBuilder {
	b.obj.Spec.ExpirySeconds = int64(expiry / time.Second)
	return b
}

// LightningPaymentBuilder builds a LightningPayment.
type LightningPaymentBuilder struct{ obj v1alpha1.LightningPayment }

// MakeLightningPayment starts a LightningPayment from the Wallet main. The case says the invoice or where it is.
func MakeLightningPayment(name string) *LightningPaymentBuilder {
	return &LightningPaymentBuilder{v1alpha1.LightningPayment{
		ObjectMeta: makeMeta(name),
		Spec:       v1alpha1.LightningPaymentSpec{WalletRef: v1alpha1.WalletReference{Name: "main"}},
	}}
}

// Obj returns the LightningPayment.
func (b *LightningPaymentBuilder) Obj() *v1alpha1.LightningPayment { return b.obj.DeepCopy() }

// Namespace sets metadata.namespace.
func (b *LightningPaymentBuilder) Namespace(namespace string) *LightningPaymentBuilder {
	b.obj.Namespace = namespace
	return b
}

// Annotation sets one annotation.
func (b *LightningPaymentBuilder) Annotation(key, value string) *LightningPaymentBuilder {
	metav1.SetMetaDataAnnotation(&b.obj.ObjectMeta, key, value)
	return b
}

// Wallet sets spec.walletRef.
func (b *LightningPaymentBuilder) Wallet(name string) *LightningPaymentBuilder {
	b.obj.Spec.WalletRef.Name = name
	return b
}

// Invoice sets spec.invoice, a BOLT11.
func (b *LightningPaymentBuilder) Invoice(bolt11 string) *LightningPaymentBuilder {
	b.obj.Spec.Invoice = bolt11
	return b
}

// InvoiceFromLightningInvoice sets spec.invoiceFrom to a LightningInvoice.
func (b *LightningPaymentBuilder) InvoiceFromLightningInvoice(name string) *LightningPaymentBuilder {
	b.obj.Spec.InvoiceFrom = &v1alpha1.InvoiceSource{LightningInvoiceRef: &v1alpha1.LocalReference{Name: name}}
	return b
}

// InvoiceFromSecret sets spec.invoiceFrom to a key of a Secret.
func (b *LightningPaymentBuilder) InvoiceFromSecret(name, key string) *LightningPaymentBuilder {
	b.obj.Spec.InvoiceFrom = &v1alpha1.InvoiceSource{SecretKeyRef: &v1alpha1.KeyReference{Name: name, Key: key}}
	return b
}

// InvoiceFromConfigMap sets spec.invoiceFrom to a key of a ConfigMap.
func (b *LightningPaymentBuilder) InvoiceFromConfigMap(name, key string) *LightningPaymentBuilder {
	b.obj.Spec.InvoiceFrom = &v1alpha1.InvoiceSource{ConfigMapKeyRef: &v1alpha1.KeyReference{Name: name, Key: key}}
	return b
}

// AmountSats sets the guard spec.amountSats, in sat.
func (b *LightningPaymentBuilder) AmountSats(sats int64) *LightningPaymentBuilder {
	b.obj.Spec.AmountSats = &sats
	return b
}

// Asset sets the guard spec.asset, its amount in the asset's smallest unit.
func (b *LightningPaymentBuilder) Asset(id string, amount int64) *LightningPaymentBuilder {
	b.obj.Spec.Asset = &v1alpha1.AssetAmount{ID: id, Amount: amount}
	return b
}

// MaxFeeSats sets spec.maxFeeSats, in sat.
func (b *LightningPaymentBuilder) MaxFeeSats(sats int64) *LightningPaymentBuilder {
	b.obj.Spec.MaxFeeSats = &sats
	return b
}

// ValidUntil sets spec.validUntil, to the second.
func (b *LightningPaymentBuilder) ValidUntil(instant time.Time) *LightningPaymentBuilder {
	b.obj.Spec.ValidUntil = &metav1.Time{Time: instant.Truncate(time.Second)}
	return b
}

// Suspend sets spec.suspend to true.
func (b *LightningPaymentBuilder) Suspend() *LightningPaymentBuilder {
	b.obj.Spec.Suspend = true
	return b
}

// OnchainSendBuilder builds an OnchainSend.
type OnchainSendBuilder struct{ obj v1alpha1.OnchainSend }

// MakeOnchainSend starts an OnchainSend from the Wallet main at 2 sat/vB, valid until the year 2100. The case says what goes where.
func MakeOnchainSend(name string) *OnchainSendBuilder {
	return &OnchainSendBuilder{v1alpha1.OnchainSend{
		ObjectMeta: makeMeta(name),
		Spec: v1alpha1.OnchainSendSpec{
			WalletRef:  v1alpha1.WalletReference{Name: "main"},
			FeeRate:    2,
			ValidUntil: metav1.Date(2100, time.January, 1, 0, 0, 0, 0, time.UTC),
		},
	}}
}

// Obj returns the OnchainSend.
func (b *OnchainSendBuilder) Obj() *v1alpha1.OnchainSend { return b.obj.DeepCopy() }

// Namespace sets metadata.namespace.
func (b *OnchainSendBuilder) Namespace(namespace string) *OnchainSendBuilder {
	b.obj.Namespace = namespace
	return b
}

// Annotation sets one annotation.
func (b *OnchainSendBuilder) Annotation(key, value string) *OnchainSendBuilder {
	metav1.SetMetaDataAnnotation(&b.obj.ObjectMeta, key, value)
	return b
}

// Wallet sets spec.walletRef.
func (b *OnchainSendBuilder) Wallet(name string) *OnchainSendBuilder {
	b.obj.Spec.WalletRef.Name = name
	return b
}

// Address sets spec.to.address.
func (b *OnchainSendBuilder) Address(address string) *OnchainSendBuilder {
	b.obj.Spec.To.Address = address
	return b
}

// RGBInvoice sets spec.to.rgbInvoice.
func (b *OnchainSendBuilder) RGBInvoice(invoice string) *OnchainSendBuilder {
	b.obj.Spec.To.RGBInvoice = invoice
	return b
}

// AmountSats sets spec.amountSats, in sat.
func (b *OnchainSendBuilder) AmountSats(sats int64) *OnchainSendBuilder {
	b.obj.Spec.AmountSats = &sats
	return b
}

// Asset sets spec.asset, its amount in the asset's smallest unit.
func (b *OnchainSendBuilder) Asset(id string, amount int64) *OnchainSendBuilder {
	b.obj.Spec.Asset = &v1alpha1.AssetAmount{ID: id, Amount: amount}
	return b
}

// FeeRate sets spec.feeRate, in sat/vB.
func (b *OnchainSendBuilder) FeeRate(rate int64) *OnchainSendBuilder {
	b.obj.Spec.FeeRate = rate
	return b
}

// MaxFeeSats sets spec.maxFeeSats, in sat.
func (b *OnchainSendBuilder) MaxFeeSats(sats int64) *OnchainSendBuilder {
	b.obj.Spec.MaxFeeSats = &sats
	return b
}

// ValidUntil sets spec.validUntil, to the second.
func (b *OnchainSendBuilder) ValidUntil(instant time.Time) *OnchainSendBuilder {
	b.obj.Spec.ValidUntil = metav1.Time{Time: instant.Truncate(time.Second)}
	return b
}

// IdempotencyKey sets spec.idempotencyKey.
func (b *OnchainSendBuilder) IdempotencyKey(key string) *OnchainSendBuilder {
	b.obj.Spec.IdempotencyKey = key
	return b
}

// Follow sets spec.mode to Observe and spec.sendID.
func (b *OnchainSendBuilder) Follow(sendID string) *OnchainSendBuilder {
	b.obj.Spec.Mode, b.obj.Spec.SendID = v1alpha1.ModeObserve, sendID
	return b
}

// Suspend sets spec.suspend to true.
func (b *OnchainSendBuilder) Suspend() *OnchainSendBuilder {
	b.obj.Spec.Suspend = true
	return b
}

// PaymentRecordBuilder builds a PaymentRecord.
type PaymentRecordBuilder struct{ obj v1alpha1.PaymentRecord }

// MakePaymentRecord starts the record of a LightningPayment rent from the Wallet main, claimed and with no attempt yet.
func MakePaymentRecord(name string) *PaymentRecordBuilder {
	return &PaymentRecordBuilder{v1alpha1.PaymentRecord{
		ObjectMeta: makeMeta(name),
		Spec: v1alpha1.PaymentRecordSpec{
			Kind:   v1alpha1.RecordLightningPayment,
			Wallet: v1alpha1.RecordWallet{Name: "main", MasterFingerprint: "00000000", Server: "https://utexo.invalid"},
		},
		Journal: v1alpha1.PaymentJournal{
			Phase:  v1alpha1.RecordClaimed,
			Holder: v1alpha1.RecordHolder{Kind: "LightningPayment", Namespace: DefaultNamespace, Name: "rent"},
		},
	}}
}

// Obj returns the PaymentRecord.
func (b *PaymentRecordBuilder) Obj() *v1alpha1.PaymentRecord { return b.obj.DeepCopy() }

// Namespace sets metadata.namespace.
func (b *PaymentRecordBuilder) Namespace(namespace string) *PaymentRecordBuilder {
	b.obj.Namespace = namespace
	return b
}

// Kind sets spec.kind.
func (b *PaymentRecordBuilder) Kind(kind v1alpha1.RecordKind) *PaymentRecordBuilder {
	b.obj.Spec.Kind = kind
	return b
}

// AmountSats sets spec.amountSats, in sat.
func (b *PaymentRecordBuilder) AmountSats(sats int64) *PaymentRecordBuilder {
	b.obj.Spec.AmountSats = &sats
	return b
}

// Phase sets journal.phase.
func (b *PaymentRecordBuilder) Phase(phase v1alpha1.RecordPhase) *PaymentRecordBuilder {
	b.obj.Journal.Phase = phase
	return b
}

// Attempt sets journal.attempt.
func (b *PaymentRecordBuilder) Attempt(number int32) *PaymentRecordBuilder {
	b.obj.Journal.Attempt = number
	return b
}

// RequestID sets journal.requestID.
func (b *PaymentRecordBuilder) RequestID(id string) *PaymentRecordBuilder {
	b.obj.Journal.RequestID = id
	return b
}

// Holder sets journal.holder.
func (b *PaymentRecordBuilder) Holder(kind, namespace, name, uid string) *PaymentRecordBuilder {
	b.obj.Journal.Holder = v1alpha1.RecordHolder{Kind: kind, Namespace: namespace, Name: name, UID: uid}
	return b
}

func makeMeta(name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: DefaultNamespace, Name: name}
}

// TTL sets spec.ttlSecondsAfterFinished.
func (b *LightningInvoiceBuilder) TTL(seconds int32) *LightningInvoiceBuilder {
	b.obj.Spec.TTLSecondsAfterFinished = &seconds
	return b
}

// TTL sets spec.ttlSecondsAfterFinished.
func (b *LightningPaymentBuilder) TTL(seconds int32) *LightningPaymentBuilder {
	b.obj.Spec.TTLSecondsAfterFinished = &seconds
	return b
}

// TTL sets spec.ttlSecondsAfterFinished.
func (b *OnchainSendBuilder) TTL(seconds int32) *OnchainSendBuilder {
	b.obj.Spec.TTLSecondsAfterFinished = &seconds
	return b
}

// MakeDepositAddress returns a DepositAddress of the Wallet main, with the rotation that is the default.
func MakeDepositAddress(namespace, name string) *v1alpha1.DepositAddress {
	meta := makeMeta(name)
	meta.Namespace = namespace
	return &v1alpha1.DepositAddress{
		ObjectMeta: meta,
		Spec:       v1alpha1.DepositAddressSpec{WalletRef: v1alpha1.WalletReference{Name: "main"}, Rotation: v1alpha1.RotateOnUse},
	}
}

// MakeSettlement returns a Settlement of the Wallet main.
func MakeSettlement(namespace, name string) *v1alpha1.Settlement {
	meta := makeMeta(name)
	meta.Namespace = namespace
	return &v1alpha1.Settlement{ObjectMeta: meta, Spec: v1alpha1.SettlementSpec{WalletRef: v1alpha1.WalletReference{Name: "main"}}}
}

// MakePaymentApproval returns approver's approval of a plan of a payment from a Wallet.
func MakePaymentApproval(approver string, payment v1alpha1.PaymentReference, wallet, planHash string, expiresAt time.Time) *v1alpha1.PaymentApproval {
	return &v1alpha1.PaymentApproval{ObjectMeta: makeMeta(payment.Name + "-" + approver), Spec: v1alpha1.PaymentApprovalSpec{
		PaymentRef: payment, WalletRef: v1alpha1.WalletReference{Name: wallet}, PlanHash: planHash, Approver: approver,
		ExpiresAt: metav1.NewTime(expiresAt),
	}}
}

// MakePaymentSignature returns the signed PSBT of an attempt of a payment from the Wallet main.
func MakePaymentSignature(payment v1alpha1.PaymentReference, attempt int32, signedPSBT string) *v1alpha1.PaymentSignature {
	return &v1alpha1.PaymentSignature{ObjectMeta: makeMeta(payment.Name), Spec: v1alpha1.PaymentSignatureSpec{
		PaymentRef: payment, WalletRef: v1alpha1.WalletReference{Name: "main"}, Attempt: attempt, PSBT: signedPSBT,
	}}
}

// MakeStatement returns a Statement of the Wallet main in CSV, on the service's word. It has neither a period nor a schedule yet.
func MakeStatement(namespace, name string) *v1alpha1.Statement {
	meta := makeMeta(name)
	meta.Namespace = namespace
	return &v1alpha1.Statement{ObjectMeta: meta, Spec: v1alpha1.StatementSpec{
		WalletRef: v1alpha1.WalletReference{Name: "main"}, Format: v1alpha1.FormatCSV, Source: v1alpha1.SourceService, HistoryLimit: 12,
	}}
}

// Renews sets spec.renewal to OnExpiry.
func (b *LightningInvoiceBuilder) Renews() *LightningInvoiceBuilder {
	b.obj.Spec.Renewal = v1alpha1.RenewOnExpiry
	return b
}

// PublishToConfigMap sets spec.publishTo to a ConfigMap.
func (b *LightningInvoiceBuilder) PublishToConfigMap(name string) *LightningInvoiceBuilder {
	b.obj.Spec.PublishTo = &v1alpha1.InvoiceTarget{ConfigMapRef: &v1alpha1.TargetReference{Name: name}}
	return b
}

// PublishToSecret sets spec.publishTo to a Secret.
func (b *LightningInvoiceBuilder) PublishToSecret(name string) *LightningInvoiceBuilder {
	b.obj.Spec.PublishTo = &v1alpha1.InvoiceTarget{SecretRef: &v1alpha1.TargetReference{Name: name}}
	return b
}
