/*
 * merkle_tree.c
 *		The Merkle tree of RFC 6962, section 2.1, built leaf by leaf.
 *
 * The leaves so far make a row of complete subtrees, each larger than the next one:
 * there is one for every binary digit 1 of the number of leaves.  Only the hashes of
 * these subtrees are kept, so the memory grows with the depth of the tree, not with
 * its leaves.
 */
#include <string.h>

#include "core/core.h"

static void
join(CrSha256 sha, const uint8_t left[CR_HASH_LEN], const uint8_t right[CR_HASH_LEN],
	 uint8_t out[CR_HASH_LEN])
{
	uint8_t both[1 + 2 * CR_HASH_LEN];

	both[0] = 1; /* a node, not a leaf */
	memcpy(both + 1, left, CR_HASH_LEN);
	memcpy(both + 1 + CR_HASH_LEN, right, CR_HASH_LEN);
	sha(both, sizeof(both), out);
}

static int
count_subtrees(uint64_t leaves)
{
	int n = 0;

	for (; leaves > 0; leaves &= leaves - 1)
		n++;
	return n;
}

/* Adds a leaf, given its hash. */
void
cr_tree_add(CrTree *tree, CrSha256 sha, const uint8_t leaf[CR_HASH_LEN])
{
	int n = count_subtrees(tree->count);

	memcpy(tree->nodes[n], leaf, CR_HASH_LEN);
	for (uint64_t equal = tree->count; equal & 1; equal >>= 1, n--)
		join(sha, tree->nodes[n - 1], tree->nodes[n], tree->nodes[n - 1]);
	tree->count++;
}

/* The root of the leaves so far.  More leaves can be added afterwards. */
void
cr_tree_root(const CrTree *tree, CrSha256 sha, uint8_t out[CR_HASH_LEN])
{
	int n = count_subtrees(tree->count);

	if (n == 0)
	{
		sha("", 0, out);
		return;
	}
	memcpy(out, tree->nodes[--n], CR_HASH_LEN);
	while (n-- > 0)
		join(sha, tree->nodes[n], out, out);
}
