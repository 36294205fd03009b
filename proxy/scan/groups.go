package scan

import "github.com/suitegate/suitegate/policy"

// groups are the groups that are asked for, the usual ones first (IANA "TLS
// Supported Groups").
var groups = [...]struct {
	group policy.Group
	name  string
}{
	{4588, "X25519MLKEM768"}, {29, "X25519"}, {23, "P-256"}, {24, "P-384"}, {25, "P-521"}, {30, "X448"},
	{4587, "SecP256r1MLKEM768"}, {4589, "SecP384r1MLKEM1024"},
	{256, "ffdhe2048"}, {257, "ffdhe3072"}, {258, "ffdhe4096"}, {259, "ffdhe6144"}, {260, "ffdhe8192"},
	{512, "MLKEM512"}, {513, "MLKEM768"}, {514, "MLKEM1024"}, {25497, "X25519Kyber768Draft00"},
	{26, "brainpoolP256r1"}, {27, "brainpoolP384r1"}, {28, "brainpoolP512r1"},
	{31, "brainpoolP256r1tls13"}, {32, "brainpoolP384r1tls13"}, {33, "brainpoolP512r1tls13"},
	{41, "curveSM2"}, {22, "secp256k1"}, {21, "secp224r1"}, {20, "secp224k1"}, {19, "secp192r1"}, {18, "secp192k1"},
	{17, "secp160r2"}, {16, "secp160r1"}, {15, "secp160k1"},
	{14, "sect571r1"}, {13, "sect571k1"}, {12, "sect409r1"}, {11, "sect409k1"}, {10, "sect283r1"}, {9, "sect283k1"},
	{8, "sect239k1"}, {7, "sect233r1"}, {6, "sect233k1"}, {5, "sect193r2"}, {4, "sect193r1"}, {3, "sect163r2"},
	{2, "sect163r1"}, {1, "sect163k1"},
	{34, "GC256A"}, {35, "GC256B"}, {36, "GC256C"}, {37, "GC256D"}, {38, "GC512A"}, {39, "GC512B"}, {40, "GC512C"},
}

func allGroups() []policy.Group {
	all := make([]policy.Group, 0, len(groups))
	for i := range groups {
		all = append(all, groups[i].group)
	}
	return all
}

// groupName is the group's usual name, or its number in hexadecimal.
func groupName(g policy.Group) string {
	for i := range groups {
		if groups[i].group == g {
			return groups[i].name
		}
	}
	return g.String()
}
