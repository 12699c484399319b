package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// InvoicePhase says how far an invoice is.
// +kubebuilder:validation:Enum=Pending;Open;Renewing;Settled;Expired;Failed
type InvoicePhase string

// Phases of an invoice.
const (
	// InvoicePending means that there is nothing to pay yet.
	InvoicePending InvoicePhase = "Pending"
	// InvoiceOpen means that the payment request can be paid.
	InvoiceOpen InvoicePhase = "Open"
	// InvoiceRenewing means that it expired unpaid and that the next one is being asked for: nothing can be paid now.
	InvoiceRenewing InvoicePhase = "Renewing"
	// InvoiceSettled means that it was paid.
	InvoiceSettled InvoicePhase = "Settled"
	// InvoiceExpired means that it expired unpaid and is not renewed. A payment that was on its way may still settle it.
	InvoiceExpired InvoicePhase = "Expired"
	// InvoiceFailed means that it could not be issued, or cannot be paid.
	InvoiceFailed InvoicePhase = "Failed"
)

// InvoiceRenewal says whether an invoice that expired unpaid is followed by another.
// +kubebuilder:validation:Enum=Never;OnExpiry
type InvoiceRenewal string

// Renewals of an invoice.
const (
	// RenewNever lets an invoice expire.
	RenewNever InvoiceRenewal = "Never"
	// RenewOnExpiry has the next invoice issued when one expires unpaid.
	RenewOnExpiry InvoiceRenewal = "OnExpiry"
)

// InvoiceOutcome says what became of an invoice that was renewed.
// +kubebuilder:validation:Enum=Watched;Expired;Settled;Unknown
type InvoiceOutcome string

// Outcomes of an invoice that was renewed.
const (
	// OutcomeWatched means that a payment that was on its way may still settle it.
	OutcomeWatched InvoiceOutcome = "Watched"
	// OutcomeExpired means that it was not paid.
	OutcomeExpired InvoiceOutcome = "Expired"
	// OutcomeSettled means that it was paid.
	OutcomeSettled InvoiceOutcome = "Settled"
	// OutcomeUnknown means that the service no longer shows whether it was paid.
	OutcomeUnknown InvoiceOutcome = "Unknown"
)

// MaxInvoiceHistory is how many invoices that were renewed the status of a LightningInvoice tells of.
const MaxInvoiceHistory = 20

// LightningInvoiceSpec declares an invoice. All of it but renewal and ttlSecondsAfterFinished is immutable: another amount is another
// invoice.
// +kubebuilder:validation:XValidation:rule="[has(self.amountSats), has(self.asset)].exists_one(x, x)",message="set exactly one of amountSats and asset"
// +kubebuilder:validation:XValidation:rule="!has(self.renewal) || self.renewal != 'OnExpiry' || !has(self.expirySeconds) || self.expirySeconds >= 600",message="an invoice that is renewed must be payable for 10 minutes at least: set expirySeconds to 600 or more, or renewal to Never"
// +kubebuilder:validation:XValidation:rule="has(self.publishTo) == has(oldSelf.publishTo) && (!has(self.publishTo) || self.publishTo == oldSelf.publishTo)",message="publishTo is immutable: declare a new LightningInvoice"
// +kubebuilder:validation:XValidation:rule="self.walletRef == oldSelf.walletRef",message="walletRef is immutable: declare a new LightningInvoice"
// +kubebuilder:validation:XValidation:rule="has(self.amountSats) == has(oldSelf.amountSats) && (!has(self.amountSats) || self.amountSats == oldSelf.amountSats)",message="amountSats is immutable: declare a new LightningInvoice"
// +kubebuilder:validation:XValidation:rule="has(self.asset) == has(oldSelf.asset) && (!has(self.asset) || self.asset == oldSelf.asset)",message="asset is immutable: declare a new LightningInvoice"
// +kubebuilder:validation:XValidation:rule="has(self.expirySeconds) == has(oldSelf.expirySeconds) && (!has(self.expirySeconds) || self.expirySeconds == oldSelf.expirySeconds)",message="expirySeconds is immutable: declare a new LightningInvoice"
type LightningInvoiceSpec struct {
	// walletRef names the Wallet that is paid. Immutable.
	// +required
	WalletRef WalletReference `json:"walletRef"`

	// amountSats to ask for, in sat, from 1. Exactly one of amountSats and asset. Immutable.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=2100000000000000
	AmountSats *int64 `json:"amountSats,omitempty"`

	// asset and amount to ask for. The invoice then also carries a small bitcoin amount that the service chooses. Immutable.
	// +optional
	Asset *AssetAmount `json:"asset,omitempty"`

	// expirySeconds after which the invoice can no longer be paid, from 60 to 31536000 (a year), default 3600. Immutable.
	// +optional
	// +default=3600
	// +kubebuilder:validation:Minimum=60
	// +kubebuilder:validation:Maximum=31536000
	ExpirySeconds int64 `json:"expirySeconds,omitempty"`

	// renewal of an invoice that expires unpaid. Never, the default, lets it
	// expire. OnExpiry has the next one issued, and the ones before watched for a
	// late payment: whichever is paid first settles the resource. It needs
	// expirySeconds of 600 at least. It can be changed at any time.
	// +optional
	// +default="Never"
	Renewal InvoiceRenewal `json:"renewal,omitempty"`

	// publishTo is a Secret or ConfigMap, in the namespace of this resource, into
	// which the operator writes the payment request that can be paid now. It is
	// made by the operator, and deleted with this resource; one that exists
	// already is left alone. The namespace has to grant it. Immutable.
	// +optional
	PublishTo *InvoiceTarget `json:"publishTo,omitempty"`

	// ttlSecondsAfterFinished after which the resource is deleted once the
	// invoice is settled, failed, or expired and not renewed. A payment that is
	// late is still told of, as an event of the Wallet.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=315360000
	TTLSecondsAfterFinished *int32 `json:"ttlSecondsAfterFinished,omitempty"`
}

// InvoiceTarget is where a payment request is written to.
// +kubebuilder:validation:XValidation:rule="[has(self.secretRef), has(self.configMapRef)].exists_one(x, x)",message="set exactly one of secretRef and configMapRef"
type InvoiceTarget struct {
	// secretRef names the Secret to write. Exactly one of secretRef and configMapRef.
	// +optional
	SecretRef *TargetReference `json:"secretRef,omitempty"`

	// configMapRef names the ConfigMap to write. Exactly one of secretRef and configMapRef.
	// +optional
	ConfigMapRef *TargetReference `json:"configMapRef,omitempty"`
}

// TargetReference names a Secret or ConfigMap to write, in the namespace of the resource.
type TargetReference struct {
	// name of the Secret or ConfigMap, in the namespace of this resource.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`
	Name string `json:"name"`

	// key under which the payment request is written, default paymentRequest. The
	// keys paymentHash, expiresAt and amountSats are written beside it.
	// +optional
	// +default="paymentRequest"
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[-._a-zA-Z0-9]+$`
	// +kubebuilder:validation:XValidation:rule="!(self in ['paymentHash', 'expiresAt', 'amountSats', '.', '..'])",message="key must be another than paymentHash, expiresAt and amountSats, which are written beside it"
	Key string `json:"key,omitempty"`
}

// InvoiceGeneration is an invoice of a LightningInvoice that was renewed.
type InvoiceGeneration struct {
	// renewal by which the invoice was issued; 0 for the first one.
	// +required
	Renewal int32 `json:"renewal"`

	// paymentHash of the invoice, 64 hex digits.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	PaymentHash string `json:"paymentHash,omitempty"`

	// requestID is the service's id of the invoice.
	// +optional
	// +kubebuilder:validation:MaxLength=256
	RequestID string `json:"requestID,omitempty"`

	// createdAt is when the invoice was issued.
	// +optional
	CreatedAt *metav1.Time `json:"createdAt,omitempty"`

	// expiresAt is when the invoice could no longer be paid.
	// +optional
	ExpiresAt *metav1.Time `json:"expiresAt,omitempty"`

	// settledAt is when the operator saw that the invoice was paid.
	// +optional
	SettledAt *metav1.Time `json:"settledAt,omitempty"`

	// outcome: Watched, Expired, Settled or Unknown.
	// +required
	Outcome InvoiceOutcome `json:"outcome"`
}

// LightningInvoiceStatus is what happened to an invoice.
type LightningInvoiceStatus struct {
	// observedGeneration is the generation of the spec that this status is about; -1 before the first look.
	// +optional
	// +default=-1
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// phase: Pending, Open, Renewing, Settled, Expired or Failed.
	// +optional
	Phase InvoicePhase `json:"phase,omitempty"`

	// issueAttempts is how many times the service was asked for this invoice or,
	// once it expired and is renewed, for the next one. An answer that is lost
	// costs one: nobody saw the invoice, so nobody can pay it.
	// +optional
	IssueAttempts int32 `json:"issueAttempts,omitempty"`

	// issueRenewal is the renewal whose invoice issueAttempts were made for; 0 is
	// the first invoice.
	// +optional
	IssueRenewal int32 `json:"issueRenewal,omitempty"`

	// requestID is the service's id of the invoice.
	// +optional
	// +kubebuilder:validation:MaxLength=256
	RequestID string `json:"requestID,omitempty"`

	// paymentRequest is the BOLT11 to hand to the payer. At most one is ever
	// published for a resource, and one more with each renewal.
	// +optional
	// +kubebuilder:validation:MaxLength=8192
	PaymentRequest string `json:"paymentRequest,omitempty"`

	// paymentHash of the invoice, 64 hex digits.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	PaymentHash string `json:"paymentHash,omitempty"`

	// amountSats that the invoice asks for, in sat, also for an asset invoice.
	// +optional
	AmountSats *int64 `json:"amountSats,omitempty"`

	// asset that the invoice asks for.
	// +optional
	Asset *AssetAmount `json:"asset,omitempty"`

	// createdAt is when the invoice was issued.
	// +optional
	CreatedAt *metav1.Time `json:"createdAt,omitempty"`

	// expiresAt is when the invoice can no longer be paid.
	// +optional
	ExpiresAt *metav1.Time `json:"expiresAt,omitempty"`

	// settledAt is when the operator saw that the invoice was paid.
	// +optional
	SettledAt *metav1.Time `json:"settledAt,omitempty"`

	// renewals is how many times the invoice was renewed. The fields above are
	// about the latest.
	// +optional
	Renewals int32 `json:"renewals,omitempty"`

	// history of the invoices that were renewed, newest first, at most 20.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=20
	History []InvoiceGeneration `json:"history,omitempty"`

	// recordRef names the PaymentRecord, in the operator's namespace, that holds the published invoice.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	RecordRef string `json:"recordRef,omitempty"`

	// conditions: Ready, Reconciling, Stalled, Settled, Published.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=16
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// LightningInvoice issues one BOLT11 invoice and watches it until it is paid
// or can no longer be. Where it says so, the next one is issued when one
// expires unpaid.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=lninv,categories=utexo
// +kubebuilder:printcolumn:name="Phase",type=string,JSONPath=`.status.phase`
// +kubebuilder:printcolumn:name="Sats",type=integer,JSONPath=`.status.amountSats`
// +kubebuilder:printcolumn:name="Asset Amount",type=integer,JSONPath=`.spec.asset.amount`
// +kubebuilder:printcolumn:name="Wallet",type=string,JSONPath=`.spec.walletRef.name`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Expires",type=string,format=date-time,JSONPath=`.status.expiresAt`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Renewals",type=integer,JSONPath=`.status.renewals`,priority=1
// +kubebuilder:printcolumn:name="Payment Hash",type=string,JSONPath=`.status.paymentHash`,priority=1
// +kubebuilder:printcolumn:name="Asset",type=string,JSONPath=`.spec.asset.id`,priority=1
type LightningInvoice struct {
	metav1.TypeMeta `json:",inline"`
	// metadata is the standard object's metadata.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec declares the invoice. Another amount is another invoice.
	// +required
	Spec LightningInvoiceSpec `json:"spec"`

	// status is what happened to it.
	// +optional
	// +default={"observedGeneration": -1, "conditions": [{"type": "Ready", "status": "Unknown", "reason": "Pending", "message": "waiting for the operator", "lastTransitionTime": "1970-01-01T00:00:00Z"}]}
	Status LightningInvoiceStatus `json:"status,omitempty"`
}

// LightningInvoiceList is a list of LightningInvoices.
// +kubebuilder:object:root=true
type LightningInvoiceList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []LightningInvoice `json:"items"`
}
