/** Keys, principals, capabilities, authenticated encryption, key encapsulation, signatures and key files. */
@NullMarked
package blocktree.crypto;

import org.jspecify.annotations.NullMarked;
