package clienthello

import "fmt"

// IANA's names ("TLS Parameters", "TLS ExtensionType Values") for all that the
// recordings hold, for people who read the golden files.

func name(names map[uint16]string) func(uint16) string {
	return func(v uint16) string {
		if name, ok := names[v]; ok {
			return name
		}
		return "unknown"
	}
}

func versionName(v uint16) string {
	return map[uint16]string{
		0x0300: "SSL 3.0", 0x0301: "TLS 1.0", 0x0302: "TLS 1.1", 0x0303: "TLS 1.2", 0x0304: "TLS 1.3",
	}[v]
}

func extensionNames() map[uint16]string {
	return map[uint16]string{
		extServerName:           "server_name",
		extStatusRequest:        "status_request",
		extSupportedGroups:      "supported_groups",
		extECPointFormats:       "ec_point_formats",
		extSignatureAlgorithms:  "signature_algorithms",
		extALPN:                 "application_layer_protocol_negotiation",
		17:                      "status_request_v2",
		extSCT:                  "signed_certificate_timestamp",
		21:                      "padding",
		extEncryptThenMAC:       "encrypt_then_mac",
		extExtendedMasterSecret: "extended_master_secret",
		27:                      "compress_certificate",
		28:                      "record_size_limit",
		34:                      "delegated_credential",
		extSessionTicket:        "session_ticket",
		extPreSharedKey:         "pre_shared_key",
		extEarlyData:            "early_data",
		extSupportedVersions:    "supported_versions",
		extCookie:               "cookie",
		extPSKModes:             "psk_key_exchange_modes",
		49:                      "post_handshake_auth",
		extSignatureAlgsCert:    "signature_algorithms_cert",
		extKeyShare:             "key_share",
		0x44cd:                  "application_settings",
		0xca34:                  "trust_anchors",
		extEncryptedClientHello: "encrypted_client_hello",
		extRenegotiationInfo:    "renegotiation_info",
	}
}

func groupNames() map[uint16]string {
	return map[uint16]string{
		23: "secp256r1", 24: "secp384r1", 25: "secp521r1", 29: "x25519", 30: "x448",
		256: "ffdhe2048", 257: "ffdhe3072", 258: "ffdhe4096", 259: "ffdhe6144", 260: "ffdhe8192",
		0x11eb: "SecP256r1MLKEM768", 0x11ec: "X25519MLKEM768", 0x11ed: "SecP384r1MLKEM1024",
	}
}

func schemeNames() map[uint16]string {
	names := map[uint16]string{
		0x0804: "rsa_pss_rsae_sha256", 0x0805: "rsa_pss_rsae_sha384", 0x0806: "rsa_pss_rsae_sha512",
		0x0807: "ed25519", 0x0808: "ed448",
		0x0809: "rsa_pss_pss_sha256", 0x080a: "rsa_pss_pss_sha384", 0x080b: "rsa_pss_pss_sha512",
		0x0904: "mldsa44", 0x0905: "mldsa65", 0x0906: "mldsa87",
		0x0403: "ecdsa_secp256r1_sha256", 0x0503: "ecdsa_secp384r1_sha384", 0x0603: "ecdsa_secp521r1_sha512",
	}
	hashes := []string{1: "md5", "sha1", "sha224", "sha256", "sha384", "sha512"}
	for hash := 1; hash < len(hashes); hash++ { // RFC 5246 §7.4.1.4.1
		for i, key := range []string{"rsa_pkcs1", "dsa", "ecdsa"} {
			v := uint16(hash<<8 | i + 1)
			if names[v] == "" {
				names[v] = fmt.Sprintf("%s_%s", key, hashes[hash])
			}
		}
	}
	return names
}

func suiteNames() map[uint16]string {
	return map[uint16]string{
		0x0004: "TLS_RSA_WITH_RC4_128_MD5",
		0x0005: "TLS_RSA_WITH_RC4_128_SHA",
		0x000a: "TLS_RSA_WITH_3DES_EDE_CBC_SHA",
		0x0013: "TLS_DHE_DSS_WITH_3DES_EDE_CBC_SHA",
		0x0016: "TLS_DHE_RSA_WITH_3DES_EDE_CBC_SHA",
		0x002f: "TLS_RSA_WITH_AES_128_CBC_SHA",
		0x0032: "TLS_DHE_DSS_WITH_AES_128_CBC_SHA",
		0x0033: "TLS_DHE_RSA_WITH_AES_128_CBC_SHA",
		0x0034: "TLS_DH_anon_WITH_AES_128_CBC_SHA",
		0x0035: "TLS_RSA_WITH_AES_256_CBC_SHA",
		0x0038: "TLS_DHE_DSS_WITH_AES_256_CBC_SHA",
		0x0039: "TLS_DHE_RSA_WITH_AES_256_CBC_SHA",
		0x003a: "TLS_DH_anon_WITH_AES_256_CBC_SHA",
		0x003c: "TLS_RSA_WITH_AES_128_CBC_SHA256",
		0x003d: "TLS_RSA_WITH_AES_256_CBC_SHA256",
		0x0040: "TLS_DHE_DSS_WITH_AES_128_CBC_SHA256",
		0x0041: "TLS_RSA_WITH_CAMELLIA_128_CBC_SHA",
		0x0044: "TLS_DHE_DSS_WITH_CAMELLIA_128_CBC_SHA",
		0x0045: "TLS_DHE_RSA_WITH_CAMELLIA_128_CBC_SHA",
		0x0046: "TLS_DH_anon_WITH_CAMELLIA_128_CBC_SHA",
		0x0067: "TLS_DHE_RSA_WITH_AES_128_CBC_SHA256",
		0x006a: "TLS_DHE_DSS_WITH_AES_256_CBC_SHA256",
		0x006b: "TLS_DHE_RSA_WITH_AES_256_CBC_SHA256",
		0x0084: "TLS_RSA_WITH_CAMELLIA_256_CBC_SHA",
		0x0087: "TLS_DHE_DSS_WITH_CAMELLIA_256_CBC_SHA",
		0x0088: "TLS_DHE_RSA_WITH_CAMELLIA_256_CBC_SHA",
		0x0089: "TLS_DH_anon_WITH_CAMELLIA_256_CBC_SHA",
		0x009c: "TLS_RSA_WITH_AES_128_GCM_SHA256",
		0x009d: "TLS_RSA_WITH_AES_256_GCM_SHA384",
		0x009e: "TLS_DHE_RSA_WITH_AES_128_GCM_SHA256",
		0x009f: "TLS_DHE_RSA_WITH_AES_256_GCM_SHA384",
		0x00a2: "TLS_DHE_DSS_WITH_AES_128_GCM_SHA256",
		0x00a3: "TLS_DHE_DSS_WITH_AES_256_GCM_SHA384",
		0x00ff: "TLS_EMPTY_RENEGOTIATION_INFO_SCSV",
		0x1301: "TLS_AES_128_GCM_SHA256",
		0x1302: "TLS_AES_256_GCM_SHA384",
		0x1303: "TLS_CHACHA20_POLY1305_SHA256",
		0x1304: "TLS_AES_128_CCM_SHA256",
		0x5600: "TLS_FALLBACK_SCSV",
		0xc007: "TLS_ECDHE_ECDSA_WITH_RC4_128_SHA",
		0xc008: "TLS_ECDHE_ECDSA_WITH_3DES_EDE_CBC_SHA",
		0xc009: "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA",
		0xc00a: "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA",
		0xc011: "TLS_ECDHE_RSA_WITH_RC4_128_SHA",
		0xc012: "TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA",
		0xc013: "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA",
		0xc014: "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA",
		0xc018: "TLS_ECDH_anon_WITH_AES_128_CBC_SHA",
		0xc019: "TLS_ECDH_anon_WITH_AES_256_CBC_SHA",
		0xc023: "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256",
		0xc024: "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA384",
		0xc027: "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256",
		0xc028: "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA384",
		0xc02b: "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
		0xc02c: "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
		0xc02f: "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
		0xc030: "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
		0xc09c: "TLS_RSA_WITH_AES_128_CCM",
		0xc09d: "TLS_RSA_WITH_AES_256_CCM",
		0xc09e: "TLS_DHE_RSA_WITH_AES_128_CCM",
		0xc09f: "TLS_DHE_RSA_WITH_AES_256_CCM",
		0xc0ac: "TLS_ECDHE_ECDSA_WITH_AES_128_CCM",
		0xc0ad: "TLS_ECDHE_ECDSA_WITH_AES_256_CCM",
		0xcca8: "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
		0xcca9: "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
		0xccaa: "TLS_DHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
	}
}
