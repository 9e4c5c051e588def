/*
 * tree_test.c
 *		The Merkle tree of RFC 6962, compared with the results that Certificate
 *		Transparency's own tests expect and with the RFC's recursive definition;
 *		and the bytes of leaves and anchors.
 */
#include <openssl/evp.h>

#include "unit.h"

#define TO_2000 INT64_C(946684800000000)	/* 2000-01-01 since 1970, in us */
#define MOST_LEAVES 300

static void
sha256(const void *data, size_t len, uint8_t out[CR_HASH_LEN])
{
	unsigned int n = 0;

	if (EVP_Digest(data, len, out, &n, EVP_sha256(), NULL) != 1 || n != CR_HASH_LEN)
		memset(out, 0, CR_HASH_LEN);
}

static const char *
hex(const uint8_t *bytes, size_t len)
{
	static char text[2048];

	text[0] = '\0';
	for (size_t i = 0; i < len; i++)
		snprintf(text + 2 * i, 3, "%02x", bytes[i]);
	return text;
}

/* The RFC's MTH, word for word, of leaves that are hashed already. */
static void
definition(uint8_t (*leaves)[CR_HASH_LEN], int n, uint8_t out[CR_HASH_LEN])
{
	uint8_t		both[1 + 2 * CR_HASH_LEN] = {1};
	int			k = 1;

	if (n == 0)
	{
		sha256("", 0, out);
		return;
	}
	if (n == 1)
	{
		memcpy(out, leaves[0], CR_HASH_LEN);
		return;
	}
	while (k * 2 < n)
		k *= 2;
	definition(leaves, k, both + 1);
	definition(leaves + k, n - k, both + 1 + CR_HASH_LEN);
	sha256(both, sizeof(both), out);
}

static void
test_vectors(void)
{
	static const struct
	{
		const char *data;
		size_t		len;
	}			leaves[] = {
		{"", 0}, {"\x00", 1}, {"\x10", 1}, {"\x20\x21", 2}, {"\x30\x31", 2},
		{"\x40\x41\x42\x43", 4}, {"\x50\x51\x52\x53\x54\x55\x56\x57", 8},
		{"\x60\x61\x62\x63\x64\x65\x66\x67\x68\x69\x6a\x6b\x6c\x6d\x6e\x6f", 16},
	};
	static const char *roots[] = {
		"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
		"6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
		"fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
		"aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
		"d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
		"4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
		"76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
		"ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
		"5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
	};
	uint8_t		nodes[CR_TREE_NODES][CR_HASH_LEN];
	CrTree		tree = {0, nodes};
	uint8_t		hash[CR_HASH_LEN];

	for (int n = 0; n <= lengthof(leaves); n++)
	{
		char		name[32];
		uint8_t		data[32] = {0};

		snprintf(name, sizeof(name), "the root of %d leaves", n);
		cr_tree_root(&tree, sha256, hash);
		is_text(hex(hash, CR_HASH_LEN), roots[n], name);
		if (n == lengthof(leaves))
			break;
		memcpy(data + 1, leaves[n].data, leaves[n].len);
		sha256(data, 1 + leaves[n].len, hash);
		cr_tree_add(&tree, sha256, hash);
	}
}

/* Trees of every size, in the room that core.h says is enough. */
static void
test_definition(void)
{
	static uint8_t leaves[MOST_LEAVES][CR_HASH_LEN];
	bool		same = true;
	bool		within = true;

	for (int i = 0; i < MOST_LEAVES; i++)
		sha256(&i, sizeof(i), leaves[i]);
	for (int n = 0; n <= MOST_LEAVES; n++)
	{
		uint8_t		nodes[CR_TREE_NODES][CR_HASH_LEN];
		uint8_t		unused[CR_HASH_LEN];
		CrTree		tree = {0, nodes};
		uint8_t		got[CR_HASH_LEN];
		uint8_t		want[CR_HASH_LEN];
		int			digits = 0;

		for (int left = n; left > 0; left >>= 1)
			digits++;
		memset(nodes, 0xa5, sizeof(nodes));
		memset(unused, 0xa5, sizeof(unused));
		for (int i = 0; i < n; i++)
			cr_tree_add(&tree, sha256, leaves[i]);
		cr_tree_root(&tree, sha256, got);
		definition(leaves, n, want);
		same &= memcmp(got, want, CR_HASH_LEN) == 0 && tree.count == (uint64_t) n;
		cr_tree_root(&tree, sha256, got);
		same &= memcmp(got, want, CR_HASH_LEN) == 0;
		within &= memcmp(nodes[digits + 1], unused, CR_HASH_LEN) == 0;
	}
	ok(same, "the roots of 0 to %d leaves are those of the definition", MOST_LEAVES);
	ok(within, "one node more than the count has digits is enough");
}

static void
test_bytes(void)
{
	uint8_t		space[512];
	CrBuf		buf = {space, 0, sizeof(space)};
	CrAnchor	anchor = {
		.anchor_no = 7,.created_at = INT64_C(1000000) - TO_2000,.accounts = 300,.changed = 2,
		.audit_seq = 19
	};
	uint8_t		hash[CR_HASH_LEN];

	memset(hash, 0xab, sizeof(hash));
	cr_leaf_encode(&buf, "ann", 258, hash);
	is_text(hex(buf.data, buf.len),
			"00" "0100000003616e6e" "01000000080000000000000102" "0100000020"
			"abababababababababababababababababababababababababababababababab",
			"the leaf of a user");
	cr_leaf_encode(&buf, NULL, 0, hash);
	is_text(hex(buf.data, buf.len),
			"00" "00" "01000000080000000000000000" "0100000020"
			"abababababababababababababababababababababababababababababababab",
			"the leaf of the audit log");

	memset(anchor.root, 0x11, CR_HASH_LEN);
	memset(anchor.changed_root, 0x22, CR_HASH_LEN);
	memset(anchor.previous_hash, 0x33, CR_HASH_LEN);
	memset(anchor.audit_hash, 0x44, CR_HASH_LEN);
	memset(anchor.hash, 0x55, CR_HASH_LEN);
	cr_anchor_encode(&buf, &anchor);
	is_text(hex(buf.data, buf.len),
			"637265646974732d6e31"
			"3333333333333333333333333333333333333333333333333333333333333333"
			"01000000080000000000000007" "010000000800000000000f4240"
			"0100000008000000000000012c" "01000000080000000000000002"
			"01000000080000000000000013"
			"01000000201111111111111111111111111111111111111111111111111111111111111111"
			"01000000202222222222222222222222222222222222222222222222222222222222222222",
			"an anchor");
}

void
test_tree(void)
{
	test_vectors();
	test_definition();
	test_bytes();
}
