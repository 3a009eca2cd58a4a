// SPDX-License-Identifier: MIT
#pragma once

/* Stored passwords of every kind that is taken, each as cheap as its kind allows. */

#define BCRYPT_SECRET "$2y$04$Bnys2ozyscDjHYw.yV4FA.8NAi0FdPMw70nHhjD1bp2eWHc8WJnZy"
#define BCRYPT_B_SECRET "$2b$04$g.e2XEWe/pyF0W0MAsezIO30I0iMzkd05uKuqc9shsP6KMZVvxkb2"
#define BCRYPT_A_SECRET "$2a$04$/VFPkAq7I0wZ/JJwAYn4aO9X38yEeFZsqU1TpLJoPZZzIa9G//s2y"
#define BCRYPT_OTHER "$2y$04$o9FcnAPA9Um02s6pVEHbyO8ClngpbxHNHmz5n4z9eDrRf6voF6rmW"
#define BCRYPT_10_SECRET "$2y$10$Np2OVVT9.GznroswsIknT.gGtk1ztojqL9T2yEENGaase/9ZwWLM2"
#define YESCRYPT_SECRET "$y$j75$ZXBbXOUvEQRU2yi5tNxuZ0$uSiGOTXGicN/z.EoGxFWAHHPRL7yKL.RrYExnndoRaC"
#define GOST_SECRET "$gy$j75$F55Td4Pz/PW/iJyHAnx9U0$LEdFoELdl7ot6Vn10Du2iVWA8zF0GStDbwioz7yikp."
#define SCRYPT_SECRET                                                                              \
    "$7$BU..../....I6PAM7V7CikBmo.5Vc4fk/$lAMMLXY9LIOnWqzjs7XGLfW44gzOvx3iThj9bJcCfQ6"
#define SHA256_SECRET "$5$rounds=1000$xdyThPD0u946Wx8j$U2xIi/845HreRzbS6mGepAIPJW8Kog20z4y0syxxSS1"
#define SHA256_5000_SECRET "$5$UotDGDvyA9L0K81U$sp1XFPiYGUIrnfb0hQheusC49f82SG1229y.3ndKTP4"
#define SHA512_SECRET                                                                              \
    "$6$rounds=1000$Ka1HXkxpE9mNxnHV$nO5OzKlMPkz3f/Hn1t/wCDJVPBiMwPp1nX7sZd43rUe6trPhTX."          \
    "G9M2acn1XjR36HxVFKJqJ67sge.utgyV2/0"
#define SHA512_5000_SECRET                                                                         \
    "$6$65l1yTx8jYWvda3S$DEnbFd9vydwCRMIuSecyUsp4zV1VIC222rgG8QY5U.xNUWk98AnaB/KkVv28OYjVhJVFa."   \
    "5o5KD1A5izKz.Mk1"

/* What is refused. */
#define APR1_SECRET "$apr1$5Zn2NDCs$0kOoJcEuTBPyUO7tJDcYx0"
#define MD5_SECRET "$1$DHjCf9dI$yQTfGiudKvKpGNOnBTa1Z1"
#define SHA1_SECRET "{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ="
#define DES_SECRET "Mf45ZQOzZnW1k"
