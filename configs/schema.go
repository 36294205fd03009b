package configs

// The file as it is written: one field for each key. The exported types say
// what the keys mean, reference.yml shows them all.

type document struct {
	Admin        adminKeys                  `key:"admin"`
	Log          logKeys                    `key:"log"`
	Audit        auditKeys                  `key:"audit"`
	Storage      field[either[storageKeys]] `key:"storage"`
	DrainTimeout field[duration]            `key:"drain_timeout"`
	Reload       reloadKeys                 `key:"reload"`
	Restart      restartKeys                `key:"restart"`
	Hardening    hardeningKeys              `key:"hardening"`
	FIPS         field[fipsMode]            `key:"fips"`
	Tickets      ticketKeys                 `key:"tickets"`
	Prove        proveKeys                  `key:"prove"`
	Certificates []field[certificateKeys]   `key:"certificates,required,nonempty"`
	Policies     names[policyKeys]          `key:"policies"`
	Upstreams    names[upstreamKeys]        `key:"upstreams"`
	Listeners    []field[listenerKeys]      `key:"listeners,required,nonempty"`
}

type hardeningKeys struct {
	Landlock  field[landlockMode] `key:"landlock"`
	CoreDumps field[toggle]       `key:"core_dumps"`
}

type proveKeys struct {
	Mode     field[proveMode] `key:"mode"`
	Evidence field[text]      `key:"evidence"`
}

type ticketKeys struct {
	Rotation field[duration] `key:"rotation"`
	Lifetime field[duration] `key:"lifetime"`
	Shared   field[toggle]   `key:"shared"`
}

type storageKeys struct {
	Directory field[text]      `key:"directory"`
	Redis     field[redisKeys] `key:"redis"`
	Seal      field[sealKeys]  `key:"seal"`
}

type sealKeys struct {
	Key      field[sealingKeyKeys]   `key:"key,required"`
	Previous []field[sealingKeyKeys] `key:"previous,nonempty"`
	Reuse    field[duration]         `key:"data_key_reuse"`
	Context  names[text]             `key:"context,nonempty"`
}

type sealingKeyKeys struct {
	KMS            field[kmsKeys]   `key:"kms"`
	Vault          field[vaultKeys] `key:"vault"`
	File           field[text]      `key:"file"`
	PassphraseFile field[text]      `key:"passphrase_file"`
	PassphraseEnv  field[variable]  `key:"passphrase_env"`
}

type kmsKeys struct {
	Key         field[text]   `key:"key,required"`
	Region      field[name]   `key:"region"`
	Endpoint    field[webURL] `key:"endpoint"`
	GrantTokens []field[text] `key:"grant_tokens,nonempty"`
}

type vaultKeys struct {
	Address   field[webURL]   `key:"address,required"`
	Mount     field[mount]    `key:"mount"`
	Key       field[name]     `key:"key,required"`
	Namespace field[mount]    `key:"namespace"`
	TokenFile field[text]     `key:"token_file"`
	TokenEnv  field[variable] `key:"token_env"`
	CA        field[text]     `key:"ca"`
}

type redisKeys struct {
	Address      field[nodeAddress]  `key:"address,required"`
	Username     field[text]         `key:"username"`
	PasswordFile field[text]         `key:"password_file"`
	PasswordEnv  field[text]         `key:"password_env"`
	Database     field[count]        `key:"database"`
	Prefix       field[name]         `key:"prefix"`
	TLS          field[redisTLSKeys] `key:"tls"`
}

type redisTLSKeys struct {
	CA          field[text] `key:"ca"`
	Certificate field[text] `key:"certificate"`
	Key         field[text] `key:"key"`
}

type adminKeys struct {
	Address   field[listenAddress] `key:"address"`
	Socket    field[text]          `key:"socket"`
	TokenFile field[text]          `key:"token_file"`
	TokenEnv  field[variable]      `key:"token_env"`
	Pprof     field[toggle]        `key:"pprof"`
}

type reloadKeys struct {
	Watch field[toggle] `key:"watch"`
}

type restartKeys struct {
	ReusePort field[toggle] `key:"reuse_port"`
}

type auditKeys struct {
	File field[text] `key:"file"`
}

type logKeys struct {
	Format field[logFormat] `key:"format"`
	Level  field[logLevel]  `key:"level"`

	RefusalsPerMinute field[count] `key:"refusals_per_minute"`

	ClientAddresses    field[addressDetail] `key:"client_addresses"`
	ServerNames        field[toggle]        `key:"server_names"`
	Fingerprints       field[toggle]        `key:"fingerprints"`
	ClientCertificates field[toggle]        `key:"client_certificates"`
}

type certificateKeys struct {
	Name       field[name]           `key:"name,required"`
	Files      field[filesKeys]      `key:"files"`
	SelfSigned field[selfSignedKeys] `key:"self_signed"`
	ACME       field[acmeKeys]       `key:"acme"`
	Stapling   field[toggle]         `key:"ocsp_stapling"`
}

type filesKeys struct {
	Certificate  field[text]     `key:"certificate"`
	Key          field[text]     `key:"key"`
	PKCS12       field[text]     `key:"pkcs12"`
	PasswordFile field[text]     `key:"password_file"`
	PasswordEnv  field[variable] `key:"password_env"`
}

type selfSignedKeys struct {
	Names field[[]field[host]] `key:"names,nonempty"`
}

type acmeKeys struct {
	Names           field[[]field[host]]       `key:"names,required,nonempty"`
	Email           field[email]               `key:"email,required"`
	Directory       field[httpsURL]            `key:"directory"`
	Root            field[text]                `key:"root"`
	Profile         field[name]                `key:"profile"`
	PreferredChain  field[text]                `key:"preferred_chain"`
	KeyTypes        field[[]field[keyType]]    `key:"key_types,nonempty"`
	MustStaple      field[toggle]              `key:"must_staple"`
	Challenges      field[[]field[challenge]]  `key:"challenges,nonempty"`
	HTTPAddress     field[listenAddress]       `key:"http_address"`
	DNS             field[dnsKeys]             `key:"dns"`
	ExternalAccount field[externalAccountKeys] `key:"external_account"`
	CheckInterval   field[duration]            `key:"check_interval"`
	OnDemand        field[onDemandKeys]        `key:"on_demand"`
}

type onDemandKeys struct {
	Allow field[[]field[host]] `key:"allow,nonempty"`
	Ask   field[webURL]        `key:"ask"`
}

type dnsKeys struct {
	RFC2136            field[rfc2136Keys]          `key:"rfc2136,required"`
	Resolvers          field[[]field[nodeAddress]] `key:"resolvers,nonempty"`
	PropagationTimeout field[duration]             `key:"propagation_timeout"`
}

type rfc2136Keys struct {
	Server       field[nodeAddress]   `key:"server,required"`
	KeyName      field[text]          `key:"key_name,required"`
	KeyAlgorithm field[tsigAlgorithm] `key:"key_algorithm"`
	KeyFile      field[text]          `key:"key_file"`
	KeyEnv       field[text]          `key:"key_env"`
}

type externalAccountKeys struct {
	KeyID      field[text]     `key:"key_id,required"`
	MACKeyFile field[text]     `key:"mac_key_file"`
	MACKeyEnv  field[variable] `key:"mac_key_env"`
}

type policyKeys struct {
	TLS12  field[[]field[text]] `key:"tls12"`
	TLS13  field[[]field[text]] `key:"tls13"`
	Groups field[[]field[text]] `key:"groups,nonempty"`
}

type upstreamKeys struct {
	Nodes           []either[nodeKeys]     `key:"nodes,required,nonempty"`
	Balance         field[balance]         `key:"balance"`
	ConnectTimeout  field[duration]        `key:"connect_timeout"`
	DialTimeout     field[duration]        `key:"dial_timeout"`
	SlowStart       field[duration]        `key:"slow_start"`
	ResolveInterval field[duration]        `key:"resolve_interval"`
	HealthCheck     field[healthCheckKeys] `key:"health_check"`
	ProxyProtocol   field[proxyVersion]    `key:"proxy_protocol"`
	Required        field[toggle]          `key:"required"`
}

type nodeKeys struct {
	Address field[nodeAddress] `key:"address,required"`
	Weight  field[count]       `key:"weight"`
}

type healthCheckKeys struct {
	Protocol field[checkProtocol] `key:"protocol"`
	Interval field[duration]      `key:"interval"`
	Timeout  field[duration]      `key:"timeout"`
	Rise     field[count]         `key:"rise"`
	Fall     field[count]         `key:"fall"`
}

type listenerKeys struct {
	Name               field[name]                  `key:"name,required"`
	Address            field[listenAddress]         `key:"address,required"`
	Protocol           field[protocol]              `key:"protocol,required"`
	ProxyProtocol      field[proxyProtocolKeys]     `key:"proxy_protocol"`
	Policy             field[text]                  `key:"policy,required"`
	Shadow             field[[]field[text]]         `key:"shadow,nonempty"`
	Canary             field[canaryKeys]            `key:"canary"`
	Certificates       field[[]field[text]]         `key:"certificates,nonempty"`
	ServerName         field[serverName]            `key:"server_name"`
	DefaultCertificate field[text]                  `key:"default_certificate"`
	ClientCertificates field[clientCertificateKeys] `key:"client_certificates"`
	Upstream           field[text]                  `key:"upstream"`
	Upstreams          field[names[text]]           `key:"upstreams,nonempty"`
	ALPN               []field[alpn]                `key:"alpn"`
	SessionTickets     field[toggle]                `key:"session_tickets"`

	Allow                   field[[]field[network]] `key:"allow,nonempty"`
	Deny                    field[[]field[network]] `key:"deny,nonempty"`
	MaxConnections          field[count]            `key:"max_connections"`
	MaxConnectionsPerClient field[count]            `key:"max_connections_per_client"`
	MaxHandshakes           field[count]            `key:"max_handshakes"`
	MaxHandshakesPerClient  field[count]            `key:"max_handshakes_per_client"`
	HandshakeRate           field[ratePerTime]      `key:"handshake_rate"`
	HandshakeRatePerClient  field[ratePerTime]      `key:"handshake_rate_per_client"`
	HelloTimeout            field[duration]         `key:"hello_timeout"`
	HandshakeTimeout        field[duration]         `key:"handshake_timeout"`
	FirstBytesTimeout       field[duration]         `key:"first_bytes_timeout"`
	IdleTimeout             field[duration]         `key:"idle_timeout"`
	MaxAge                  field[duration]         `key:"max_connection_age"`
	MaxAgeJitter            field[percentage]       `key:"max_connection_age_jitter"`
}

type canaryKeys struct {
	Policy      field[text]             `key:"policy,required"`
	Share       field[percentage]       `key:"share"`
	Clients     field[[]field[network]] `key:"clients,nonempty"`
	From        field[moment]           `key:"from"`
	Until       field[moment]           `key:"until"`
	MaxRefusals field[percentage]       `key:"max_refusals"`
}

type proxyProtocolKeys struct {
	From field[[]field[network]] `key:"from,required,nonempty"`
}

type clientCertificateKeys struct {
	Mode     field[clientCertificateMode] `key:"mode,required"`
	CA       field[text]                  `key:"ca"`
	Allow    field[allowKeys]             `key:"allow,nonempty"`
	CRL      field[[]field[text]]         `key:"crl,nonempty"`
	StaleCRL field[staleCRL]              `key:"stale_crl"`
	MaxDepth field[count]                 `key:"max_depth"`
}

type allowKeys struct {
	DN    field[[]field[text]] `key:"dn,nonempty"`
	CN    field[[]field[text]] `key:"cn,nonempty"`
	DNS   field[[]field[text]] `key:"dns,nonempty"`
	URI   field[[]field[text]] `key:"uri,nonempty"`
	Email field[[]field[text]] `key:"email,nonempty"`
	SPKI  field[[]field[text]] `key:"spki,nonempty"`
}
