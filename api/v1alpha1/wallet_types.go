package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// Network names a Bitcoin network.
// +kubebuilder:validation:Enum=mainnet;testnet;signet;regtest
type Network string

// Networks.
const (
	NetworkMainnet Network = "mainnet"
	NetworkTestnet Network = "testnet"
	NetworkSignet  Network = "signet"
	NetworkRegtest Network = "regtest"
)

// ServerProfile says what is known of the service's behaviour beyond its documents.
// +kubebuilder:validation:Enum=Conservative;Reference
type ServerProfile string

// Server profiles.
const (
	// ProfileConservative assumes nothing that the documents do not promise: an on-chain send whose answer was lost becomes
	// Unknown.
	ProfileConservative ServerProfile = "Conservative"
	// ProfileReference is for the public reference server: it answers a repeated onchain-send-end with the same send, so a lost
	// answer can be asked for again, and it fails with some error codes only before any broadcast.
	ProfileReference ServerProfile = "Reference"
)

// AssetPolicy says what becomes of a transaction whose effect on RGB assets is not proved.
// +kubebuilder:validation:Enum=Strict;Warn
type AssetPolicy string

// Asset policies.
const (
	// AssetPolicyStrict signs nothing of which it is not proved what becomes of the assets that its coins may carry.
	AssetPolicyStrict AssetPolicy = "Strict"
	// AssetPolicyWarn signs what is not proved, with a Warning event, and refuses what is proved to be wrong.
	AssetPolicyWarn AssetPolicy = "Warn"
)

// SignerType says who signs a wallet's payments.
// +kubebuilder:validation:Enum=Local;Remote;Manual
type SignerType string

// Signer types.
const (
	// SignerLocal signs in the operator, with the keys of keys.secretRef. A wallet that is watched only has none.
	SignerLocal SignerType = "Local"
	// SignerRemote asks a signer elsewhere, so that no private key is near the operator.
	SignerRemote SignerType = "Remote"
	// SignerManual has people sign, in PaymentSignatures, so that no private key is near the operator.
	SignerManual SignerType = "Manual"
)

// WalletSpec declares a wallet: on which network, at which service, with which keys, and who signs.
// +kubebuilder:validation:XValidation:rule="self.network == oldSelf.network",message="network is immutable: declare a new Wallet"
// +kubebuilder:validation:XValidation:rule="self.keys == oldSelf.keys",message="keys are immutable: other keys are another wallet, declare a new one"
// +kubebuilder:validation:XValidation:rule="!has(self.signer) || self.signer.type != 'Remote' || has(self.keys.watchOnly)",message="a Remote signer has the private keys: set keys.watchOnly, not keys.secretRef"
// +kubebuilder:validation:XValidation:rule="!has(self.signer) || self.signer.type != 'Manual' || has(self.keys.watchOnly)",message="people who sign have the private keys: set keys.watchOnly, not keys.secretRef"
type WalletSpec struct {
	// network of the wallet: mainnet, testnet, signet or regtest. The service must be on the same one. Immutable.
	// +required
	Network Network `json:"network"`

	// endpoint is the UTEXO API service that the wallet uses.
	// +required
	Endpoint Endpoint `json:"endpoint"`

	// keys of the wallet: exactly one of secretRef and watchOnly. Immutable.
	// +required
	Keys WalletKeys `json:"keys"`

	// limits of what payments may take from this wallet. Without it they may take all.
	// +optional
	Limits *WalletLimits `json:"limits,omitempty"`

	// allowedNamespaces says which other namespaces may name this Wallet; default none.
	// +optional
	AllowedNamespaces *AllowedNamespaces `json:"allowedNamespaces,omitempty"`

	// signer says who signs this wallet's payments, and what; left out, type Local. It can change: the keys stay the same.
	// +optional
	Signer *WalletSigner `json:"signer,omitempty"`

	// settlement says when the wallet's balance is put into channels; left out, only by Settlements that somebody declares.
	// +optional
	Settlement *WalletSettlement `json:"settlement,omitempty"`

	// suspend, while true, lets no payment from this wallet start or be submitted. What was submitted is still observed.
	// +optional
	Suspend bool `json:"suspend,omitempty"`

	// acknowledgedEpoch releases on-chain sends that wait with reason JournalLost:
	// set it to status.journalEpoch once it is clear that no declared send was
	// already made.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	AcknowledgedEpoch string `json:"acknowledgedEpoch,omitempty"`
}

// WalletLimits bounds what payments may take from a wallet. What is above a limit waits, with a reason that names the limit, and starts
// by itself once the limit allows it. The limits are of this Wallet; what any Wallet with the same keys spent counts.
// +kubebuilder:validation:XValidation:rule="!has(self.requiredApprovals) || has(self.requireApprovalAboveSats)",message="requiredApprovals needs requireApprovalAboveSats"
type WalletLimits struct {
	// maxPaymentSats is the most that one payment may pay, its fee aside, in sat.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=2100000000000000
	MaxPaymentSats *int64 `json:"maxPaymentSats,omitempty"`

	// maxFeeSats is the highest spec.maxFeeSats that a payment may declare, in sat.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=100000000
	MaxFeeSats *int64 `json:"maxFeeSats,omitempty"`

	// dailySats is the most that all payments may take in any 24 hours, their fees
	// among it, in sat. A payment counts from when it is submitted, with its
	// highest fee until its own is known, also while its outcome is unknown.
	// Amounts of assets do not count, the bitcoin that is sent with them does.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=2100000000000000
	DailySats *int64 `json:"dailySats,omitempty"`

	// allowedDestinations lists whom payments may pay, at most 256 entries: one of
	// them must fit. Empty allows all.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=256
	AllowedDestinations []AllowedDestination `json:"allowedDestinations,omitempty"`

	// requireApprovalAboveSats lets a payment of more than this, in sat, one
	// whose fee may be more than this, and any payment of an asset, wait for
	// PaymentApprovals. Without it none is needed.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=2100000000000000
	RequireApprovalAboveSats *int64 `json:"requireApprovalAboveSats,omitempty"`

	// requiredApprovals is by how many people a payment must be approved, from 1 to 10, default 1.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=10
	RequiredApprovals *int32 `json:"requiredApprovals,omitempty"`
}

// AllowedDestination is whom a payment may pay: all of its members must fit. An entry without assetID is for bitcoin.
// +kubebuilder:validation:XValidation:rule="has(self.nodePublicKey) || has(self.address) || has(self.assetID)",message="set nodePublicKey, address or assetID"
// +kubebuilder:validation:XValidation:rule="!has(self.address) || !(has(self.nodePublicKey) || has(self.assetID))",message="an address stands alone: it is sent bitcoin, on-chain"
// +kubebuilder:validation:XValidation:rule="!has(self.maxAssetAmount) || has(self.assetID)",message="maxAssetAmount needs assetID"
type AllowedDestination struct {
	// nodePublicKey is the public key of the Lightning node that is paid, 66 hex digits.
	// +optional
	// +kubebuilder:validation:Pattern=`^0[23][0-9a-f]{64}$`
	NodePublicKey string `json:"nodePublicKey,omitempty"`

	// address is a bitcoin address that is sent to on-chain.
	// +optional
	// +kubebuilder:validation:MinLength=14
	// +kubebuilder:validation:MaxLength=128
	Address string `json:"address,omitempty"`

	// assetID is an asset that is paid with: over Lightning, to nodePublicKey where that is set, or on-chain, to any RGB invoice.
	// +optional
	// +kubebuilder:validation:MinLength=8
	// +kubebuilder:validation:MaxLength=128
	AssetID string `json:"assetID,omitempty"`

	// maxAssetAmount is the most of the asset that one payment may pay, in its smallest unit.
	// +optional
	// +kubebuilder:validation:Minimum=1
	MaxAssetAmount *int64 `json:"maxAssetAmount,omitempty"`
}

// SettlementMode says who declares a wallet's Settlements.
// +kubebuilder:validation:Enum=Manual;Automatic
type SettlementMode string

// Settlement modes.
const (
	// SettleManual leaves Settlements to people and programs.
	SettleManual SettlementMode = "Manual"
	// SettleAutomatic has the operator declare one an interval.
	SettleAutomatic SettlementMode = "Automatic"
)

// WalletSettlement says when the balance of a wallet is put into channels.
type WalletSettlement struct {
	// mode: Manual (default) leaves it to whoever declares a Settlement; Automatic declares one every interval.
	// +optional
	// +default="Manual"
	Mode SettlementMode `json:"mode,omitempty"`

	// minimumSats that must be spendable on-chain for an automatic Settlement, in sat; default 0.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=2100000000000000
	MinimumSats int64 `json:"minimumSats,omitempty"`

	// interval of automatic Settlements, between 5m and 168h, for example 6h; default 1h.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('5m') && duration(self) <= duration('168h')",message="interval must be a duration between 5m and 168h, for example 1h"
	Interval *metav1.Duration `json:"interval,omitempty"`
}

// NamespacesFrom says which namespaces are meant.
// +kubebuilder:validation:Enum=Same;All;Selector
type NamespacesFrom string

// Namespaces.
const (
	// NamespacesSame is the Wallet's own namespace.
	NamespacesSame NamespacesFrom = "Same"
	// NamespacesAll is every namespace of the cluster.
	NamespacesAll NamespacesFrom = "All"
	// NamespacesSelector is the Wallet's own namespace and every one whose labels the selector selects.
	NamespacesSelector NamespacesFrom = "Selector"
)

// AllowedNamespaces says which namespaces may name a Wallet in a walletRef, as the Gateway API says it of Routes.
// +kubebuilder:validation:XValidation:rule="self.from != 'Selector' || has(self.selector)",message="from: Selector needs a selector"
type AllowedNamespaces struct {
	// from is Same, All or Selector.
	// +required
	From NamespacesFrom `json:"from"`

	// selector selects namespaces by their labels, where from is Selector. An empty one selects all.
	// +optional
	Selector *metav1.LabelSelector `json:"selector,omitempty"`
}

// Endpoint is a UTEXO API service and how to reach it.
// +kubebuilder:validation:XValidation:rule="self.url.startsWith('https://') || (has(self.insecure) && self.insecure)",message="url must start with https://, or set insecure: true to talk plain HTTP (a test service on your own machine)"
type Endpoint struct {
	// url of the service, for example https://utexo.example.com. Plain http is refused unless insecure is true.
	// +required
	// +kubebuilder:validation:MinLength=8
	// +kubebuilder:validation:MaxLength=2048
	// +kubebuilder:validation:Pattern=`^https?://[^@?#\s]+$`
	URL string `json:"url"`

	// timeout of a read from the service, between 1s and 10m, for example 1m30s;
	// default 35s. The call that moves money has its own, 150s.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('1s') && duration(self) <= duration('10m')",message="timeout must be a duration between 1s and 10m, for example 35s"
	Timeout *metav1.Duration `json:"timeout,omitempty"`

	// profile of the service: Conservative (default) relies on nothing but the
	// documents; Reference is for the public reference server and recovers a lost
	// answer to an on-chain send by itself.
	// +optional
	// +default="Conservative"
	Profile ServerProfile `json:"profile,omitempty"`

	// insecure permits plain HTTP. Whoever is on the path can then read and change everything.
	// +optional
	Insecure bool `json:"insecure,omitempty"`

	// caBundleRef names a ConfigMap key with PEM certificates of the authorities
	// that sign the service's certificate, instead of the system's.
	// +optional
	CABundleRef *KeyReference `json:"caBundleRef,omitempty"`

	// tokenSecretRef names a Secret key with a bearer token for the service. The
	// operator must have been granted to get that Secret.
	// +optional
	TokenSecretRef *KeyReference `json:"tokenSecretRef,omitempty"`

	// clientCertSecretRef names a Secret of type kubernetes.io/tls with a client
	// certificate for the service. The operator must have been granted to get that
	// Secret.
	// +optional
	ClientCertSecretRef *LocalReference `json:"clientCertSecretRef,omitempty"`

	// headers to add to every request, at most 16. Wallet and authorization headers cannot be set here.
	// +optional
	// +kubebuilder:validation:MaxProperties=16
	Headers map[string]string `json:"headers,omitempty"`
}

// WalletKeys are the keys of a wallet: exactly one member.
// +kubebuilder:validation:XValidation:rule="[has(self.secretRef), has(self.watchOnly)].exists_one(x, x)",message="set exactly one of secretRef and watchOnly"
type WalletKeys struct {
	// secretRef names a Secret with the key mnemonic (BIP 39, English) and
	// optionally passphrase, or with the keys xprvVanilla, xprvColored and
	// masterFingerprint, so that the rest of the seed stays out of the cluster.
	// The operator must have been granted to get that Secret.
	// +optional
	SecretRef *LocalReference `json:"secretRef,omitempty"`

	// watchOnly has public keys only: such a wallet receives and observes, and pays nothing unless its signer is Remote or Manual.
	// +optional
	WatchOnly *WatchOnlyKeys `json:"watchOnly,omitempty"`
}

// WatchOnlyKeys are the public keys of a wallet.
type WatchOnlyKeys struct {
	// xpubVanilla is the account extended public key m/86'/0'/0' (mainnet) or m/86'/1'/0' (test networks).
	// +required
	// +kubebuilder:validation:MinLength=100
	// +kubebuilder:validation:MaxLength=120
	XpubVanilla string `json:"xpubVanilla"`

	// xpubColored is the account extended public key m/86'/827166'/0' (mainnet) or m/86'/827167'/0' (test networks).
	// +required
	// +kubebuilder:validation:MinLength=100
	// +kubebuilder:validation:MaxLength=120
	XpubColored string `json:"xpubColored"`

	// masterFingerprint is the BIP 32 fingerprint of the master key, 8 lower-case hex digits.
	// +required
	// +kubebuilder:validation:Pattern=`^[0-9a-f]{8}$`
	MasterFingerprint string `json:"masterFingerprint"`
}

// WalletSigner is who signs a wallet's payments.
// +kubebuilder:validation:XValidation:rule="(self.type == 'Remote') == has(self.remote)",message="set remote exactly where type is Remote"
// +kubebuilder:validation:XValidation:rule="self.type == 'Manual' || !has(self.manual)",message="set manual only where type is Manual"
type WalletSigner struct {
	// type of the signer. Local (default) signs in the operator with the keys of
	// keys.secretRef; a wallet with keys.watchOnly then pays nothing. Remote asks
	// the signer that remote names, and needs keys.watchOnly. Manual shows what
	// is to be signed in the status of the payment and waits for a
	// PaymentSignature; it needs keys.watchOnly too.
	// +optional
	// +default="Local"
	Type SignerType `json:"type,omitempty"`

	// remote is the signer of type Remote and how to reach it.
	// +optional
	Remote *RemoteSigner `json:"remote,omitempty"`

	// manual says how long people have to sign, where type is Manual.
	// +optional
	Manual *ManualSigner `json:"manual,omitempty"`

	// assetPolicy says what becomes of a transaction whose effect on RGB assets is
	// not proved by the transitions in its PSBT. Strict signs none. Warn signs it,
	// with a Warning event AssetNotProven. Without a value, payments of assets are
	// held to Strict, and a Lightning payment of bitcoin may spend colored coins
	// without a proof, as the public reference server asks for. What is proved to
	// be wrong is refused in each case.
	// +optional
	AssetPolicy AssetPolicy `json:"assetPolicy,omitempty"`
}

// ManualSigner is people who sign. docs/manual-signing.md describes how.
type ManualSigner struct {
	// window in which one attempt of a payment can be signed, between 1m and 12h,
	// for example 1h; default 15m. The wallet makes no other payment meanwhile.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('1m') && duration(self) <= duration('12h')",message="window must be a duration between 1m and 12h, for example 15m"
	Window *metav1.Duration `json:"window,omitempty"`
}

// RemoteSigner is a signer that is reached over HTTPS with mutual TLS. docs/signer.md describes what it is asked.
type RemoteSigner struct {
	// url of the signer, for example https://utexo-signer.utexo-signer.svc. Always https.
	// +required
	// +kubebuilder:validation:MinLength=9
	// +kubebuilder:validation:MaxLength=2048
	// +kubebuilder:validation:Pattern=`^https://[^@?#\s]+$`
	URL string `json:"url"`

	// caBundleRef names a ConfigMap key with PEM certificates of the authorities
	// that sign the signer's certificate, instead of the system's.
	// +optional
	CABundleRef *KeyReference `json:"caBundleRef,omitempty"`

	// clientCertSecretRef names a Secret of type kubernetes.io/tls with the client
	// certificate by which the signer knows the operator. The operator must have
	// been granted to get that Secret.
	// +required
	ClientCertSecretRef LocalReference `json:"clientCertSecretRef"`

	// timeout of one call, between 1s and 30s; default 10s. The wallet makes no other payment meanwhile.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('1s') && duration(self) <= duration('30s')",message="timeout must be a duration between 1s and 30s, for example 10s"
	Timeout *metav1.Duration `json:"timeout,omitempty"`
}

// Balance is an on-chain balance.
type Balance struct {
	// settledSats is what is confirmed, in sat.
	// +optional
	SettledSats int64 `json:"settledSats"`
	// futureSats is what there will be once everything known is confirmed, in sat.
	// +optional
	FutureSats int64 `json:"futureSats"`
	// spendableSats is what can be spent now, in sat.
	// +optional
	SpendableSats int64 `json:"spendableSats"`
}

// OffchainBalance is a balance in Lightning channels.
type OffchainBalance struct {
	// totalSats in Lightning channels, in sat.
	// +optional
	TotalSats int64 `json:"totalSats"`
}

// WalletBalance is what the service says that the wallet holds. Some services answer their node's balance, not the wallet's.
type WalletBalance struct {
	// vanilla is bitcoin that carries no asset.
	// +optional
	Vanilla Balance `json:"vanilla"`
	// colored is bitcoin that carries RGB assets.
	// +optional
	Colored Balance `json:"colored"`
	// offchain is bitcoin in Lightning channels.
	// +optional
	Offchain *OffchainBalance `json:"offchain,omitempty"`
}

// AssetBalance is the balance of one RGB asset, in its smallest unit.
type AssetBalance struct {
	// assetID is the RGB contract id.
	// +required
	// +kubebuilder:validation:MaxLength=128
	AssetID string `json:"assetID"`
	// ticker of the asset, where it has one.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	Ticker string `json:"ticker,omitempty"`
	// precision is how many decimal places the smallest unit is below the asset's unit: with 6, an amount of 1500000 is 1.5.
	// +optional
	Precision int32 `json:"precision"`
	// settled is what is confirmed, in the smallest unit.
	// +optional
	Settled int64 `json:"settled"`
	// future is what there will be once everything known is confirmed, in the smallest unit.
	// +optional
	Future int64 `json:"future"`
	// spendable is what can be spent now, in the smallest unit.
	// +optional
	Spendable int64 `json:"spendable"`
	// offchainOutbound is what can be sent over Lightning, in the smallest unit.
	// +optional
	OffchainOutbound *int64 `json:"offchainOutbound,omitempty"`
}

// PaymentCounts counts the LightningPayments and OnchainSends that name a Wallet, and what was paid beside them.
type PaymentCounts struct {
	// inFlight are submitted and not over.
	// +optional
	InFlight int64 `json:"inFlight"`
	// succeeded were made.
	// +optional
	Succeeded int64 `json:"succeeded"`
	// failed were not made.
	// +optional
	Failed int64 `json:"failed"`
	// unknown wait for a person to say whether they were made.
	// +optional
	Unknown int64 `json:"unknown"`
	// unmanaged are Lightning payments of the last 7 days that the service lists
	// as made by the wallet, or by its node, and that no PaymentRecord knows:
	// another client pays from the wallet. Absent where the service does not list
	// payments.
	// +optional
	Unmanaged *int64 `json:"unmanaged,omitempty"`
}

// Budget is what spec.limits.dailySats leaves.
type Budget struct {
	// spentSats24h is what payments submitted in the last 24 hours took, or may take, from the wallet, in sat.
	// +optional
	SpentSats24h int64 `json:"spentSats24h"`
	// remainingSats may be taken now, in sat.
	// +optional
	RemainingSats int64 `json:"remainingSats"`
}

// WalletStatus is what was observed of a wallet.
type WalletStatus struct {
	// observedGeneration is the generation of the spec that this status is about; -1 before the first look.
	// +optional
	// +default=-1
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// masterFingerprint is the BIP 32 fingerprint of the master key.
	// +optional
	// +kubebuilder:validation:MaxLength=8
	MasterFingerprint string `json:"masterFingerprint,omitempty"`

	// xpubVanilla is the extended public key of the bitcoin account.
	// +optional
	// +kubebuilder:validation:MaxLength=120
	XpubVanilla string `json:"xpubVanilla,omitempty"`

	// xpubColored is the extended public key of the RGB account.
	// +optional
	// +kubebuilder:validation:MaxLength=120
	XpubColored string `json:"xpubColored,omitempty"`

	// balance of the wallet in bitcoin, as the service reports it. Some services report that of their node.
	// +optional
	Balance *WalletBalance `json:"balance,omitempty"`

	// assets that the wallet holds, at most 1000.
	// +optional
	// +listType=map
	// +listMapKey=assetID
	// +kubebuilder:validation:MaxItems=1000
	Assets []AssetBalance `json:"assets,omitempty"`

	// payments from this Wallet that are declared now, by how far they are.
	// +optional
	Payments *PaymentCounts `json:"payments,omitempty"`

	// budget of the last 24 hours, where spec.limits.dailySats sets one.
	// +optional
	Budget *Budget `json:"budget,omitempty"`

	// journalEpoch names the set of payment records that this wallet's sends are
	// guarded by. A new one while the service shows earlier payments means that
	// records were lost.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	JournalEpoch string `json:"journalEpoch,omitempty"`

	// lastSyncTime is when the balance last changed or was first read.
	// +optional
	LastSyncTime *metav1.Time `json:"lastSyncTime,omitempty"`

	// conditions: Ready, Reconciling, Stalled, SignerReady, Registered, Synced.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=16
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// Wallet is one non-custodial wallet, of bitcoin and RGB assets, at a UTEXO API service. Payments and invoices name it.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=uw,categories=utexo
// +kubebuilder:printcolumn:name="Network",type=string,JSONPath=`.spec.network`
// +kubebuilder:printcolumn:name="Fingerprint",type=string,JSONPath=`.status.masterFingerprint`
// +kubebuilder:printcolumn:name="Spendable",type=integer,JSONPath=`.status.balance.vanilla.spendableSats`,description="on-chain bitcoin that can be spent, in sat"
// +kubebuilder:printcolumn:name="Lightning",type=integer,JSONPath=`.status.balance.offchain.totalSats`,description="bitcoin in Lightning channels, in sat"
// +kubebuilder:printcolumn:name="Budget",type=integer,JSONPath=`.status.budget.remainingSats`,description="what may be spent now of the daily limit, in sat"
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Endpoint",type=string,JSONPath=`.spec.endpoint.url`,priority=1
// +kubebuilder:printcolumn:name="Unmanaged",type=integer,JSONPath=`.status.payments.unmanaged`,priority=1,description="payments that left the wallet and that no record knows"
type Wallet struct {
	metav1.TypeMeta `json:",inline"`
	// metadata is the standard object's metadata.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec declares the wallet.
	// +required
	Spec WalletSpec `json:"spec"`

	// status is what was observed of it.
	// +optional
	// +default={"observedGeneration": -1, "conditions": [{"type": "Ready", "status": "Unknown", "reason": "Pending", "message": "waiting for the operator", "lastTransitionTime": "1970-01-01T00:00:00Z"}]}
	Status WalletStatus `json:"status,omitempty"`
}

// WalletList is a list of Wallets.
// +kubebuilder:object:root=true
type WalletList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Wallet `json:"items"`
}
