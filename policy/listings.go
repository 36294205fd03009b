package policy

// What several of the notes say.
const (
	groupsAreOurs = "the source names no groups: these are suitegate's"
	noOrder       = "the source promises no preference: forward secrecy comes first, then AEAD, then its order"
	ffdheTLS12    = "finite field groups are for TLS 1.2 alone: no engine has them for TLS 1.3"
)

// listings is the catalogue. What stands here never changes, and nothing is
// taken away: a new version of a source is a new listing with a new name, and
// testdata/catalogue holds what each of them means. A suite that an engine
// learns does not come into a listing that left it out, either.
var listings = [...]listing{
	{
		name: "activemq-2020-09",
		source: Source{
			Document: "Amazon MQ Developer Guide, Data protection",
			Section:  "Supported TLS Cipher Suites for ActiveMQ",
			Date:     "2020-09-29", // the list's first publication (github.com/awsdocs/amazon-mq-developer-guide, 81ae967)
			URL:      "https://docs.aws.amazon.com/amazon-mq/latest/developer-guide/data-protection.html",
		},
		notes: []string{
			noOrder, groupsAreOurs,
			"the source names no TLS 1.3 suites, and later recommends TLS 1.3: these are its AES-GCM ciphers, without ChaCha20",
		},
		tls12: []string{
			"TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
			"TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA384",
			"TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA",
			"TLS_DHE_RSA_WITH_AES_256_GCM_SHA384",
			"TLS_DHE_RSA_WITH_AES_256_CBC_SHA256",
			"TLS_DHE_RSA_WITH_AES_256_CBC_SHA",
			"TLS_RSA_WITH_AES_256_GCM_SHA384",
			"TLS_RSA_WITH_AES_256_CBC_SHA256",
			"TLS_RSA_WITH_AES_256_CBC_SHA",
			"TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
			"TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256",
			"TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA",
			"TLS_DHE_RSA_WITH_AES_128_GCM_SHA256",
			"TLS_DHE_RSA_WITH_AES_128_CBC_SHA256",
			"TLS_DHE_RSA_WITH_AES_128_CBC_SHA",
			"TLS_RSA_WITH_AES_128_GCM_SHA256",
			"TLS_RSA_WITH_AES_128_CBC_SHA256",
			"TLS_RSA_WITH_AES_128_CBC_SHA",
		},
		tls13:  []string{"TLS_AES_256_GCM_SHA384", "TLS_AES_128_GCM_SHA256"},
		groups: []string{"X25519MLKEM768", "X25519", "secp256r1", "secp384r1"},
	},
	{
		name: "rabbitmq-2020-11",
		source: Source{
			Document: "Amazon MQ Developer Guide, Data protection",
			Section:  "Supported TLS Cipher Suites for RabbitMQ",
			Date:     "2020-11-09", // the list's first publication (github.com/awsdocs/amazon-mq-developer-guide, 9e9e317)
			URL:      "https://docs.aws.amazon.com/amazon-mq/latest/developer-guide/data-protection.html",
		},
		notes: []string{
			groupsAreOurs,
			"the source names no TLS 1.3 suites, and later recommends TLS 1.3: these are its AES-GCM ciphers, without ChaCha20",
		},
		tls12: []string{
			"TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
			"TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
		},
		tls13:  []string{"TLS_AES_256_GCM_SHA384", "TLS_AES_128_GCM_SHA256"},
		groups: []string{"X25519MLKEM768", "X25519", "secp256r1", "secp384r1"},
		ranked: true,
	},
	{
		name: "rfc9325-2022-11",
		source: Source{
			Document: "RFC 9325 (BCP 195)",
			Section:  "4.2, 4.2.1, and by 4.3 RFC 8446 section 9.1",
			Date:     "2022-11",
			URL:      "https://www.rfc-editor.org/rfc/rfc9325",
		},
		notes: []string{"the suites that it recommends, and none of those that it only allows; AES-256 first, as section 4.2.1 asks for"},
		tls12: []string{
			"TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
			"TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
			"TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
			"TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
		},
		tls13:  []string{"TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256", "TLS_AES_128_GCM_SHA256"},
		groups: []string{"X25519", "secp256r1"},
		ranked: true,
	},
	{
		name:   "mozilla-modern-5.7",
		source: mozilla("5.7", "modern", "2023-05-15"),
		notes:  []string{mozillaOrder},
		tls13:  []string{"TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"},
		groups: []string{"X25519", "secp256r1", "secp384r1"},
		ranked: true,
	},
	{
		name:   "mozilla-intermediate-5.7",
		source: mozilla("5.7", "intermediate", "2023-05-15"),
		notes:  []string{mozillaOrder, "ffdhe2048 is for dh_param_size"},
		tls12: []string{
			"TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
			"TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
			"TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
			"TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
			"TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
			"TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
			"TLS_DHE_RSA_WITH_AES_256_GCM_SHA384",
			"TLS_DHE_RSA_WITH_AES_128_GCM_SHA256",
			"TLS_DHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
		},
		tls13:  []string{"TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"},
		groups: []string{"X25519", "secp256r1", "secp384r1", "ffdhe2048"},
		ranked: true,
	},
	{
		name:   "mozilla-modern-6.0",
		source: mozilla("6.0", "modern", "2025-03-04"),
		notes:  []string{mozillaOrder},
		tls13:  []string{"TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"},
		groups: []string{"X25519MLKEM768", "X25519", "secp256r1", "secp384r1"},
		ranked: true,
	},
	{
		name:   "mozilla-intermediate-6.0",
		source: mozilla("6.0", "intermediate", "2025-03-04"),
		notes:  []string{mozillaOrder},
		tls12: []string{
			"TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
			"TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
			"TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
			"TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
			"TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
			"TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
		},
		tls13:  []string{"TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"},
		groups: []string{"X25519MLKEM768", "X25519", "secp256r1", "secp384r1"},
		ranked: true,
	},
	{
		name:   "aws-elb-tls13-1-2-res-2021-06",
		source: elb("ELBSecurityPolicy-TLS13-1-2-Res-2021-06", "2021-06"),
		notes:  []string{groupsAreOurs + ", without post-quantum ones, which it has in other policies"},
		tls12: []string{
			"TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
			"TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
			"TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
			"TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
		},
		tls13:  []string{"TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"},
		groups: []string{"X25519", "secp256r1", "secp384r1"},
		ranked: true,
	},
	{
		name:   "aws-elb-tls13-1-3-2021-06",
		source: elb("ELBSecurityPolicy-TLS13-1-3-2021-06", "2021-06"),
		notes:  []string{groupsAreOurs + ", without post-quantum ones, which it has in other policies"},
		tls13:  []string{"TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"},
		groups: []string{"X25519", "secp256r1", "secp384r1"},
		ranked: true,
	},
	{
		name:   "aws-elb-tls13-1-2-res-pq-2025-09",
		source: elb("ELBSecurityPolicy-TLS13-1-2-Res-PQ-2025-09", "2025-09"),
		notes:  []string{"the source names its post-quantum groups: the others are suitegate's"},
		tls12: []string{
			"TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
			"TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
			"TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
			"TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
		},
		tls13:  []string{"TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"},
		groups: []string{"SecP256r1MLKEM768", "SecP384r1MLKEM1024", "X25519MLKEM768", "X25519", "secp256r1", "secp384r1"},
		ranked: true,
	},
	{
		name:   "aws-iot-tls13-1-3-2022-10",
		source: iot("IoTSecurityPolicy_TLS13_1_3_2022_10"),
		notes:  []string{groupsAreOurs},
		tls13:  []string{"TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"},
		groups: []string{"X25519MLKEM768", "X25519", "secp256r1", "secp384r1"},
		ranked: true,
	},
	{
		name:   "aws-iot-tls13-1-2-2022-10",
		source: iot("IoTSecurityPolicy_TLS13_1_2_2022_10"),
		notes:  []string{noOrder, groupsAreOurs},
		tls12:  iotTLS12[:],
		tls13:  []string{"TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"},
		groups: []string{"X25519MLKEM768", "X25519", "secp256r1", "secp384r1"},
	},
	{
		name:   "aws-iot-tls12-1-2-2022-10",
		source: iot("IoTSecurityPolicy_TLS12_1_2_2022_10"),
		notes:  []string{noOrder, groupsAreOurs},
		tls12:  iotTLS12[:],
		groups: []string{"X25519", "secp256r1", "secp384r1"},
	},
	{
		name: "nist-sp800-52r2-2019-08",
		source: Source{
			Document: "NIST SP 800-52 Rev. 2",
			Section:  "3.3.1.1 and 3.3.1.2; for groups SP 800-56A Rev. 3, Appendix D",
			Date:     "2019-08",
			URL:      "https://doi.org/10.6028/NIST.SP.800-52r2",
		},
		notes: []string{noOrder, ffdheTLS12},
		tls12: []string{
			// For ECDSA certificates.
			"TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
			"TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
			"TLS_ECDHE_ECDSA_WITH_AES_128_CCM",
			"TLS_ECDHE_ECDSA_WITH_AES_256_CCM",
			"TLS_ECDHE_ECDSA_WITH_AES_128_CCM_8",
			"TLS_ECDHE_ECDSA_WITH_AES_256_CCM_8",
			"TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256",
			"TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA384",
			"TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA",
			"TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA",
			// For RSA certificates.
			"TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
			"TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
			"TLS_DHE_RSA_WITH_AES_128_GCM_SHA256",
			"TLS_DHE_RSA_WITH_AES_256_GCM_SHA384",
			"TLS_DHE_RSA_WITH_AES_128_CCM",
			"TLS_DHE_RSA_WITH_AES_256_CCM",
			"TLS_DHE_RSA_WITH_AES_128_CCM_8",
			"TLS_DHE_RSA_WITH_AES_256_CCM_8",
			"TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256",
			"TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA384",
			"TLS_DHE_RSA_WITH_AES_128_CBC_SHA256",
			"TLS_DHE_RSA_WITH_AES_256_CBC_SHA256",
			"TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA",
			"TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA",
			"TLS_DHE_RSA_WITH_AES_128_CBC_SHA",
			"TLS_DHE_RSA_WITH_AES_256_CBC_SHA",
		},
		tls13:  []string{"TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_AES_128_CCM_SHA256", "TLS_AES_128_CCM_8_SHA256"},
		groups: []string{"secp256r1", "secp384r1", "secp521r1", "ffdhe2048", "ffdhe3072", "ffdhe4096", "ffdhe6144", "ffdhe8192"},
		gone: []LeftOut{
			dsaSuites, staticDH, staticECDH,
			{"secp224r1", "no engine implements it"},
			{"sect*", "no engine implements binary curves"},
		},
	},
	{
		name: "bsi-tr-02102-2-2023-01",
		source: Source{
			Document: "BSI TR-02102-2",
			Section:  "3.3.1, 3.3.2 and 3.4.4 of version 2023-01",
			Date:     "2023-01",
			URL:      "https://www.bsi.bund.de/EN/Themen/Unternehmen-und-Organisationen/Standards-und-Zertifizierung/Technische-Richtlinien/TR-nach-Thema-sortiert/tr02102/tr02102_node.html",
		},
		notes: []string{noOrder, ffdheTLS12},
		tls12: []string{
			"TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256",
			"TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA384",
			"TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
			"TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
			"TLS_ECDHE_ECDSA_WITH_AES_128_CCM",
			"TLS_ECDHE_ECDSA_WITH_AES_256_CCM",
			"TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256",
			"TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA384",
			"TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
			"TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
			"TLS_DHE_RSA_WITH_AES_128_CBC_SHA256",
			"TLS_DHE_RSA_WITH_AES_256_CBC_SHA256",
			"TLS_DHE_RSA_WITH_AES_128_GCM_SHA256",
			"TLS_DHE_RSA_WITH_AES_256_GCM_SHA384",
			"TLS_DHE_RSA_WITH_AES_128_CCM",
			"TLS_DHE_RSA_WITH_AES_256_CCM",
		},
		tls13: []string{"TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_AES_128_CCM_SHA256"},
		groups: []string{
			"secp256r1", "secp384r1", "secp521r1",
			"brainpoolP256r1", "brainpoolP384r1", "brainpoolP512r1",
			"brainpoolP256r1tls13", "brainpoolP384r1tls13", "brainpoolP512r1tls13",
			"ffdhe3072", "ffdhe4096",
		},
		gone: []LeftOut{dsaSuites, staticDH, staticECDH},
	},
	{
		name: "fips-140-3-2026-02",
		source: Source{
			Document: "FIPS 140-3, what SP 800-140C and SP 800-140D approve, as the Go Cryptographic Module has it",
			Section:  "crypto/tls of Go 1.26, defaults_fips140.go",
			Date:     "2026-02",
			URL:      "https://go.dev/doc/security/fips140",
		},
		notes: []string{
			noOrder,
			"approved algorithms alone are no validated module: the engines tls12 and tls13 are part of none",
		},
		tls12: []string{
			"TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
			"TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
			"TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
			"TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
			"TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256",
			"TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256",
		},
		tls13:  []string{"TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384"},
		groups: []string{"X25519MLKEM768", "SecP256r1MLKEM768", "SecP384r1MLKEM1024", "secp256r1", "secp384r1", "secp521r1"},
	},
}

// Families of suites that two sources list and no policy can have.
var (
	dsaSuites  = LeftOut{"TLS_DHE_DSS_*", whyNeverServed("DSS")}
	staticDH   = LeftOut{"TLS_DH_*", whyNeverServed("DH")}
	staticECDH = LeftOut{"TLS_ECDH_*", whyNeverServed("ECDH")}
)

const mozillaOrder = "the source leaves the order to the client: here it is the source's"

// mozilla is one configuration of a version of Mozilla's guidelines.
func mozilla(version, configuration, date string) Source {
	return Source{
		Document: "Mozilla, Server Side TLS, guidelines " + version,
		Section:  "configuration " + configuration,
		Date:     date,
		URL:      "https://ssl-config.mozilla.org/guidelines/" + version + ".json",
	}
}

// elb is one of the security policies of AWS's load balancers.
func elb(name, date string) Source {
	return Source{
		Document: "Elastic Load Balancing, Security policies for Application Load Balancers",
		Section:  name,
		Date:     date,
		URL:      "https://docs.aws.amazon.com/elasticloadbalancing/latest/application/describe-ssl-policies.html",
	}
}

// iot is one of the security policies of AWS IoT Core.
func iot(name string) Source {
	return Source{
		Document: "AWS IoT Core Developer Guide, Transport security",
		Section:  name,
		Date:     "2022-10",
		URL:      "https://docs.aws.amazon.com/iot/latest/developerguide/transport-security.html",
	}
}

// iotTLS12 is the TLS 1.2 side of AWS IoT Core's policies of 2022-10.
var iotTLS12 = [...]string{
	"TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
	"TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256",
	"TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA",
	"TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
	"TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA384",
	"TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA",
	"TLS_RSA_WITH_AES_128_GCM_SHA256",
	"TLS_RSA_WITH_AES_128_CBC_SHA256",
	"TLS_RSA_WITH_AES_128_CBC_SHA",
	"TLS_RSA_WITH_AES_256_GCM_SHA384",
	"TLS_RSA_WITH_AES_256_CBC_SHA256",
	"TLS_RSA_WITH_AES_256_CBC_SHA",
	"TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
	"TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256",
	"TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA",
	"TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
	"TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA384",
	"TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA",
}
