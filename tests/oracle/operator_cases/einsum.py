"""Sums of products by names of dimensions."""

from .suite import Suite, normal

# Name: equation, shapes of the operands.
EQUATIONS = {
    "transposed": ("ij->ji", (3, 4)),
    "sum": ("ijk->k", (3, 4, 5)),
    "all": ("ij->", (3, 4)),
    "implied": ("ba", (3, 4)),
    "diagonal": ("ii->i", (5, 5)),
    "trace": ("ii", (5, 5)),
    "batched_diagonal": ("...ii->...i", (2, 3, 4, 4)),
    "inner": ("i,i", (7,), (7,)),
    "outer": ("i,j->ij", (3,), (4,)),
    "product": ("ij,jk", (3, 4), (4, 5)),
    "attention_scores": ("bhqd,bhkd->bhqk", (2, 3, 7, 8), (2, 3, 5, 8)),
    "attention_values": ("bhqk,bkhd->bqhd", (2, 3, 7, 5), (2, 5, 3, 8)),
    "rows": ("bi,bi->b", (6, 9), (6, 9)),
    "elementwise": ("ij,ij->ij", (3, 4), (3, 4)),
    "broadcast": ("...ij,...jk->...ik", (2, 1, 3, 4), (1, 5, 4, 6)),
    "weights": ("nchw,oc->nohw", (2, 6, 4, 5), (8, 6)),
    "three": ("ij,jk,kl->il", (3, 4), (4, 5), (5, 6)),
    "bilinear": ("bn,anm,bm->ba", (3, 4), (2, 4, 5), (3, 5)),
    "own_sums": ("ijk,jl->jl", (3, 4, 5), (4, 6)),
    "spaces": (" i j , j k -> i k ", (3, 4), (4, 5)),
}


def add_cases(suite: Suite):
    for name, (equation, *shapes) in EQUATIONS.items():
        values = {f"x{number}": normal(*shape) for number, shape in enumerate(shapes)}
        suite.operator(f"einsum_{name}", 12, "Einsum", values, equation=equation)
    whole = lambda *shape: lambda random: random.integers(-9, 9, shape)
    suite.operator("einsum_integers", 12, "Einsum", {"x0": whole(3, 4), "x1": whole(4, 5)}, equation="ij,jk->ik")
