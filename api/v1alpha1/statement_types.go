package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// RevisionAnnotation, on a payment or an invoice, is the git revision that declared it. Statements show it.
const RevisionAnnotation = "payments.utexo.com/revision"

// Bitcoin is what stands for bitcoin where else an asset's id would stand.
const Bitcoin = "bitcoin"

// StatementFormat says how a document is written.
// +kubebuilder:validation:Enum=CSV;JSON
type StatementFormat string

// Statement formats.
const (
	// FormatCSV is a table with a header row (RFC 4180, lines end in LF).
	FormatCSV StatementFormat = "CSV"
	// FormatJSON is one JSON object a line.
	FormatJSON StatementFormat = "JSON"
)

// StatementSource says whose word a document is written on.
// +kubebuilder:validation:Enum=Service;Records
type StatementSource string

// Statement sources.
const (
	// SourceService is what the service lists, joined with the operator's records.
	SourceService StatementSource = "Service"
	// SourceRecords is the operator's records alone.
	SourceRecords StatementSource = "Records"
)

// Direction is which way money moved.
// +kubebuilder:validation:Enum=In;Out
type Direction string

// Directions.
const (
	// DirectionIn is what the wallet received.
	DirectionIn Direction = "In"
	// DirectionOut is what the wallet paid.
	DirectionOut Direction = "Out"
)

// StatementPeriod is a period of time.
// +kubebuilder:validation:XValidation:rule="self.from < self.to",message="from must be before to"
type StatementPeriod struct {
	// from is the first instant of the period, for example 2026-10-01T00:00:00Z.
	// +required
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Pattern=`^2[0-9]{3}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(Z|[+-](0[0-9]|1[0-4]):[0-5][0-9])$`
	From metav1.Time `json:"from"`

	// to is the first instant after the period, for example 2026-11-01T00:00:00Z.
	// One that is still to come is waited for.
	// +required
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Pattern=`^2[0-9]{3}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(Z|[+-](0[0-9]|1[0-4]):[0-5][0-9])$`
	To metav1.Time `json:"to"`
}

// StatementSpec declares which documents are written.
// +kubebuilder:validation:XValidation:rule="[has(self.period), has(self.schedule)].exists_one(x, x)",message="set exactly one of period and schedule"
// +kubebuilder:validation:XValidation:rule="self.walletRef == oldSelf.walletRef",message="walletRef is immutable: declare a new Statement"
// +kubebuilder:validation:XValidation:rule="has(self.period) == has(oldSelf.period) && (!has(self.period) || self.period == oldSelf.period)",message="period is immutable: declare a new Statement"
// +kubebuilder:validation:XValidation:rule="has(self.schedule) == has(oldSelf.schedule) && (!has(self.schedule) || self.schedule == oldSelf.schedule)",message="schedule is immutable: declare a new Statement"
// +kubebuilder:validation:XValidation:rule="has(self.assetIDs) == has(oldSelf.assetIDs) && (!has(self.assetIDs) || self.assetIDs == oldSelf.assetIDs)",message="assetIDs is immutable: declare a new Statement"
// +kubebuilder:validation:XValidation:rule="self.format == oldSelf.format",message="format is immutable: declare a new Statement"
// +kubebuilder:validation:XValidation:rule="self.source == oldSelf.source",message="source is immutable: declare a new Statement"
type StatementSpec struct {
	// walletRef names the Wallet whose movements are stated. Immutable.
	// +required
	WalletRef WalletReference `json:"walletRef"`

	// period that one document is about. Exactly one of period and schedule. Immutable.
	// +optional
	Period *StatementPeriod `json:"period,omitempty"`

	// schedule in the format of cron, in UTC, or @monthly, @weekly, @daily and
	// their like: each tick closes the period since the tick before. Ticks are an
	// hour apart at least. Immutable.
	// +optional
	// +kubebuilder:validation:MinLength=6
	// +kubebuilder:validation:MaxLength=100
	// +kubebuilder:validation:Pattern=`^(@(yearly|annually|monthly|weekly|daily|midnight|hourly)|[0-9A-Za-z*,/?-]+( +[0-9A-Za-z*,/?-]+){4})$`
	Schedule string `json:"schedule,omitempty"`

	// assetIDs that are stated: RGB contract ids, and the word bitcoin. Bitcoin
	// and all assets where there is none. Immutable.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=100
	// +kubebuilder:validation:items:MaxLength=128
	// +kubebuilder:validation:items:Pattern=`^(bitcoin|rgb:.+)$`
	AssetIDs []string `json:"assetIDs,omitempty"`

	// format: CSV (default), or JSON, which is one object a line. Immutable.
	// +optional
	// +default="CSV"
	Format StatementFormat `json:"format,omitempty"`

	// source: Service (default) is what the service lists, joined with the
	// operator's records; nothing is written where the service cannot list.
	// Records is the operator's records alone, without what others did with the
	// wallet. Immutable.
	// +optional
	// +default="Service"
	Source StatementSource `json:"source,omitempty"`

	// historyLimit is how many of the latest documents the status names. Older
	// ones stay: the operator deletes no document.
	// +optional
	// +default=12
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=100
	HistoryLimit int32 `json:"historyLimit,omitempty"`
}

// StatementTotal is the sum of the succeeded entries of one asset in one direction.
type StatementTotal struct {
	// asset: bitcoin, or an RGB contract id.
	// +required
	// +kubebuilder:validation:MaxLength=128
	Asset string `json:"asset"`
	// direction: In or Out.
	// +required
	Direction Direction `json:"direction"`
	// count of the entries.
	// +required
	Count int64 `json:"count"`
	// amount of the entries, in sat or in the asset's smallest unit, without fees.
	// +required
	Amount int64 `json:"amount"`
	// feeSats is what the entries cost beyond their amounts, as far as it is known, in sat.
	// +required
	FeeSats int64 `json:"feeSats"`
	// feesUnknown is how many of the entries have a fee that nobody told.
	// +optional
	FeesUnknown int64 `json:"feesUnknown,omitempty"`
}

// StatementDocument names one ConfigMap with a document, or with a part of one.
type StatementDocument struct {
	// name of the ConfigMap, in the namespace of the Statement.
	// +required
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
	// part of the document that it holds, from 1. The parts in order are the document.
	// +required
	Part int32 `json:"part"`
	// from is the first instant of the document's period.
	// +required
	From metav1.Time `json:"from"`
	// to is the first instant after the document's period.
	// +required
	To metav1.Time `json:"to"`
	// entries in this part.
	// +required
	Entries int64 `json:"entries"`
	// sha256 of the bytes of this part, 64 hex digits.
	// +required
	// +kubebuilder:validation:MaxLength=64
	SHA256 string `json:"sha256"`
}

// StatementStatus is what was written.
type StatementStatus struct {
	// observedGeneration is the generation of the spec that this status is about; -1 before the first look.
	// +optional
	// +default=-1
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// closedThrough is the end of the last period whose document is written.
	// +optional
	ClosedThrough *metav1.Time `json:"closedThrough,omitempty"`

	// entries of the latest document, in all its parts.
	// +optional
	Entries *int64 `json:"entries,omitempty"`

	// totals of the latest document, bitcoin first. At most 2000 are shown here;
	// the document's summary has all.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=2000
	Totals []StatementTotal `json:"totals,omitempty"`

	// documentRefs are the latest documents, oldest first: one for each ConfigMap.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=1000
	DocumentRefs []StatementDocument `json:"documentRefs,omitempty"`

	// conditions: Ready, Reconciling, Stalled.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=16
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// Statement writes what a wallet received and paid in a period, or in every
// period of a schedule, into ConfigMaps. It moves no money.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=stmt,categories=utexo
// +kubebuilder:printcolumn:name="Wallet",type=string,JSONPath=`.spec.walletRef.name`
// +kubebuilder:printcolumn:name="Schedule",type=string,JSONPath=`.spec.schedule`
// +kubebuilder:printcolumn:name="Closed Through",type=string,format=date-time,JSONPath=`.status.closedThrough`
// +kubebuilder:printcolumn:name="Entries",type=integer,JSONPath=`.status.entries`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Document",type=string,JSONPath=`.status.documentRefs[-1:].name`,priority=1
type Statement struct {
	metav1.TypeMeta `json:",inline"`
	// metadata is the standard object's metadata.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec declares which documents are written.
	// +required
	Spec StatementSpec `json:"spec"`

	// status is what was written.
	// +optional
	// +default={"observedGeneration": -1, "conditions": [{"type": "Ready", "status": "Unknown", "reason": "Pending", "message": "waiting for the operator", "lastTransitionTime": "1970-01-01T00:00:00Z"}]}
	Status StatementStatus `json:"status,omitempty"`
}

// StatementList is a list of Statements.
// +kubebuilder:object:root=true
type StatementList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Statement `json:"items"`
}
