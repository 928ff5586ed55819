import torch

from helpers.tiny_pyramids import torch_generator
from smalti.training.pyramid.assign import CodeUse
from smalti.training.pyramid.codebooks import UseTotals, distinct, few_different, kmeans, resized


def totals(count, spared, distortion):
    found = UseTotals(len(count))
    values = [torch.tensor(each, dtype=torch.float32) for each in (count, spared, distortion)]
    found.add(CodeUse(*values, torch.zeros(len(count), 2)), 10)
    return found


def changes(found, room=0, price=0.01, images=10):
    codes = torch.arange(2.0 * len(found.count)).view(-1, 2)
    return resized(codes, found, torch.ones(2), price, images, 4, room)


def test_codes_stay_if_they_save_more_than_they_cost():
    kept = changes(totals([5, 5, 5], [9.0, 0.01, 9.0], [0.0, 0.0, 0.0]))
    assert kept.sources.tolist() == [0, 2] and not kept.offsets.any() and not kept.penalties.any()
    many = changes(totals([5, 5, 5], [9.0, 0.01, 9.0], [0.0, 0.0, 0.0]), images=1_000)
    assert many.sources.tolist() == [0, 1, 2], "in a large collection it is used often enough"


def test_one_code_always_stays():
    assert changes(totals([1, 1, 1], [0.0, 0.02, 0.01], [0.0] * 3), price=9.0).sources.tolist() == [1]


def test_codes_that_serve_many_badly_are_split():
    found = totals([9, 9, 9, 9], [9.0] * 4, [0.0, 90.0, 50.0, 0.0])
    split = changes(found, room=8)
    assert split.sources.tolist() == [0, 1, 2, 3, 1, 2] and split.penalties.tolist() == [0, 1, 1, 0, 1, 1]
    torch.testing.assert_close(split.offsets[[1, 2]], -split.offsets[[4, 5]])
    assert split.offsets[4].norm() > split.offsets[5].norm() > 0
    assert changes(found, room=1).sources.tolist() == [0, 1, 2, 3, 1]
    assert changes(found).sources.tolist() == [0, 1, 2, 3]


def test_kmeans_finds_clusters_and_no_more_codes_than_points():
    centres = torch.tensor([[0.0, 0.0], [9.0, 0.0], [0.0, 9.0]])
    points = centres.repeat(20, 1) + 0.1 * torch.randn(60, 2, generator=torch_generator())
    far = torch.cdist(points, kmeans(points, 8, torch_generator())).amin(1)
    assert float(far.max()) < 1
    assert kmeans(points[:4], 64, torch_generator()).sort(0).values.equal(points[:4].sort(0).values)


def test_of_codes_that_are_copies_the_first_stays():
    codes = torch.tensor([[4.0, 3.0], [0.0, 0.0], [4.0, 3.00001], [0.0, 1e-4], [1.0, 1.0]])
    assert distinct(codes).tolist() == [[4.0, 3.0], [0.0, 0.0], [1.0, 1.0]]
    assert distinct(torch.zeros(5, 3)).tolist() == [[0.0, 0.0, 0.0]]


def test_a_collection_of_copies_is_known_by_its_latents():
    latents = torch.randn(6, 4, 2, 3, generator=torch_generator())
    coarse = torch.randn(6, 2, 1, 1, generator=torch_generator(1))
    assert not few_different([coarse, latents])
    assert few_different([coarse[[0, 0, 1, 1, 2, 2]], latents[[0, 0, 1, 1, 2, 2]]])
    assert not few_different([coarse, latents[[0, 0, 1, 1, 2, 2]]])
