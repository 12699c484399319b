package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// LightningPaymentSpec declares a payment of one BOLT11 invoice. All of it but mode, suspend and ttlSecondsAfterFinished is immutable: a change is another payment.
// +kubebuilder:validation:XValidation:rule="[has(self.invoice), has(self.invoiceFrom)].exists_one(x, x)",message="set exactly one of invoice and invoiceFrom"
// +kubebuilder:validation:XValidation:rule="!(has(self.amountSats) && has(self.asset))",message="set at most one of the guards amountSats and asset"
// +kubebuilder:validation:XValidation:rule="self.walletRef == oldSelf.walletRef",message="walletRef is immutable: declare a new LightningPayment"
// +kubebuilder:validation:XValidation:rule="has(self.invoice) == has(oldSelf.invoice) && (!has(self.invoice) || self.invoice == oldSelf.invoice)",message="invoice is immutable: declare a new LightningPayment"
// +kubebuilder:validation:XValidation:rule="has(self.invoiceFrom) == has(oldSelf.invoiceFrom) && (!has(self.invoiceFrom) || self.invoiceFrom == oldSelf.invoiceFrom)",message="invoiceFrom is immutable: declare a new LightningPayment"
// +kubebuilder:validation:XValidation:rule="has(self.amountSats) == has(oldSelf.amountSats) && (!has(self.amountSats) || self.amountSats == oldSelf.amountSats)",message="amountSats is immutable: declare a new LightningPayment"
// +kubebuilder:validation:XValidation:rule="has(self.asset) == has(oldSelf.asset) && (!has(self.asset) || self.asset == oldSelf.asset)",message="asset is immutable: declare a new LightningPayment"
// +kubebuilder:validation:XValidation:rule="has(self.maxFeeSats) == has(oldSelf.maxFeeSats) && (!has(self.maxFeeSats) || self.maxFeeSats == oldSelf.maxFeeSats)",message="maxFeeSats is immutable: declare a new LightningPayment"
// +kubebuilder:validation:XValidation:rule="has(self.validUntil) == has(oldSelf.validUntil) && (!has(self.validUntil) || self.validUntil == oldSelf.validUntil)",message="validUntil is immutable: declare a new LightningPayment"
type LightningPaymentSpec struct {
	// walletRef names the Wallet that pays. Immutable.
	// +required
	WalletRef WalletReference `json:"walletRef"`

	// invoice to pay, a BOLT11. It must name an amount. Exactly one of invoice and invoiceFrom. Immutable.
	// +optional
	// +kubebuilder:validation:MinLength=20
	// +kubebuilder:validation:MaxLength=8192
	Invoice string `json:"invoice,omitempty"`

	// invoiceFrom says where to read the invoice: exactly one of
	// lightningInvoiceRef, secretKeyRef and configMapKeyRef. It is read once and
	// then pinned: what is there later is never paid. Immutable.
	// +optional
	InvoiceFrom *InvoiceSource `json:"invoiceFrom,omitempty"`

	// amountSats, a guard: the invoice must ask for exactly this much, in sat, or nothing is paid. Immutable.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=2100000000000000
	AmountSats *int64 `json:"amountSats,omitempty"`

	// asset, a guard: the invoice must ask for exactly this asset and amount, or nothing is paid. Immutable.
	// +optional
	Asset *AssetAmount `json:"asset,omitempty"`

	// maxFeeSats is the most that the payment may cost beyond its amount, in sat, from 0 to 100000000, default 3000. Immutable.
	// +optional
	// +default=3000
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=100000000
	MaxFeeSats *int64 `json:"maxFeeSats,omitempty"`

	// validUntil is when the payment must have started, for example
	// 2026-12-31T23:59:59Z; after it nothing is paid. Default, and at the latest:
	// a minute before the invoice expires. Immutable.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Pattern=`^2[0-9]{3}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(Z|[+-](0[0-9]|1[0-4]):[0-5][0-9])$`
	ValidUntil *metav1.Time `json:"validUntil,omitempty"`

	// mode: Apply (default) makes the payment; Plan only shows in status.plan what
	// would happen; Observe follows a payment of this invoice that somebody else
	// makes, and never makes one.
	// +optional
	// +default="Apply"
	Mode PaymentMode `json:"mode,omitempty"`

	// suspend holds the payment before its next call that moves money. What was submitted is still observed.
	// +optional
	Suspend bool `json:"suspend,omitempty"`

	// ttlSecondsAfterFinished after which the resource is deleted. It
	// counts from when the payment succeeded, or failed after it was submitted:
	// what failed before, or is Unknown, stays for somebody to see. The
	// PaymentRecord stays, so that nothing is paid again.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=315360000
	TTLSecondsAfterFinished *int32 `json:"ttlSecondsAfterFinished,omitempty"`
}

// InvoiceSource is where an invoice is read: exactly one member.
// +kubebuilder:validation:XValidation:rule="[has(self.lightningInvoiceRef), has(self.secretKeyRef), has(self.configMapKeyRef)].exists_one(x, x)",message="set exactly one of lightningInvoiceRef, secretKeyRef and configMapKeyRef"
type InvoiceSource struct {
	// lightningInvoiceRef names a LightningInvoice in the same namespace whose payment request is paid.
	// +optional
	LightningInvoiceRef *LocalReference `json:"lightningInvoiceRef,omitempty"`

	// secretKeyRef names a key of a Secret in the same namespace. The operator must have been granted to get that Secret.
	// +optional
	SecretKeyRef *KeyReference `json:"secretKeyRef,omitempty"`

	// configMapKeyRef names a key of a ConfigMap in the same namespace.
	// +optional
	ConfigMapKeyRef *KeyReference `json:"configMapKeyRef,omitempty"`
}

// LightningPaymentStatus is what happened to a payment. It projects the PaymentRecord and can be lost without harm.
type LightningPaymentStatus struct {
	// observedGeneration is the generation of the spec that this status is about; -1 before the first look.
	// +optional
	// +default=-1
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// phase: Pending, Planned, AwaitingApproval, AwaitingSignature, Submitting, InFlight, Succeeded, Failed or Unknown.
	// +optional
	Phase PaymentPhase `json:"phase,omitempty"`

	// paymentHash of the invoice, 64 hex digits: the identity of the payment.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	PaymentHash string `json:"paymentHash,omitempty"`

	// payee is the public key of the node that is paid, 66 hex digits.
	// +optional
	// +kubebuilder:validation:MaxLength=66
	Payee string `json:"payee,omitempty"`

	// amountSats of the invoice, in sat.
	// +optional
	AmountSats *int64 `json:"amountSats,omitempty"`

	// asset and amount of the invoice.
	// +optional
	Asset *AssetAmount `json:"asset,omitempty"`

	// feeEstimateSats is the service's estimate of the fee, in sat.
	// +optional
	FeeEstimateSats *int64 `json:"feeEstimateSats,omitempty"`

	// feeSats is the fee that was paid, in sat, where the service tells.
	// +optional
	FeeSats *int64 `json:"feeSats,omitempty"`

	// plan is what the payment does to the wallet, in mode Plan and where the Wallet demands approvals.
	// +optional
	Plan *PaymentPlan `json:"plan,omitempty"`

	// signing is what people have to sign now, where the Wallet's signer is Manual.
	// +optional
	Signing *SigningRequest `json:"signing,omitempty"`

	// requestID is the service's id of the payment.
	// +optional
	// +kubebuilder:validation:MaxLength=256
	RequestID string `json:"requestID,omitempty"`

	// attempt that is current, or was the last.
	// +optional
	Attempt *Attempt `json:"attempt,omitempty"`

	// recordRef names the PaymentRecord in the operator's namespace.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	RecordRef string `json:"recordRef,omitempty"`

	// completedAt is when the outcome became known.
	// +optional
	CompletedAt *metav1.Time `json:"completedAt,omitempty"`

	// conditions: Ready, Reconciling, Stalled, Succeeded, OutcomeKnown, Approved.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=16
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// LightningPayment pays one BOLT11 invoice, once.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=lnpay,categories=utexo
// +kubebuilder:printcolumn:name="Phase",type=string,JSONPath=`.status.phase`
// +kubebuilder:printcolumn:name="Sats",type=integer,JSONPath=`.status.amountSats`
// +kubebuilder:printcolumn:name="Fee",type=integer,JSONPath=`.status.feeSats`
// +kubebuilder:printcolumn:name="Wallet",type=string,JSONPath=`.spec.walletRef.name`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Payment Hash",type=string,JSONPath=`.status.paymentHash`,priority=1
// +kubebuilder:printcolumn:name="Asset",type=string,JSONPath=`.status.asset.id`,priority=1
// +kubebuilder:printcolumn:name="Asset Amount",type=integer,JSONPath=`.status.asset.amount`,priority=1
type LightningPayment struct {
	metav1.TypeMeta `json:",inline"`
	// metadata is the standard object's metadata.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec declares the payment. All of it but mode, suspend and ttlSecondsAfterFinished is immutable: a change is another payment.
	// +required
	Spec LightningPaymentSpec `json:"spec"`

	// status is what happened to it.
	// +optional
	// +default={"observedGeneration": -1, "conditions": [{"type": "Ready", "status": "Unknown", "reason": "Pending", "message": "waiting for the operator", "lastTransitionTime": "1970-01-01T00:00:00Z"}]}
	Status LightningPaymentStatus `json:"status,omitempty"`
}

// LightningPaymentList is a list of LightningPayments.
// +kubebuilder:object:root=true
type LightningPaymentList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []LightningPayment `json:"items"`
}
