import json
import threading

from ganpress.search.score_book import ScoreBook
from models.elastic import Spec


def test_values_are_kept_by_spec_and_quantity(tmp_path):
    path = tmp_path / "folder" / "book.jsonl"
    book = ScoreBook(path)
    book.add(Spec((2, 2)), "score", 1.5)
    book.add(Spec((2, 2)), "latency_ms", 0.25)
    book.add(Spec((2, 4)), "score", 0.1 + 0.2)
    again = ScoreBook(path)
    assert again.get(Spec((2, 2)), "score") == 1.5
    assert again.get(Spec((2, 2)), "latency_ms") == 0.25
    assert again.get(Spec((2, 4)), "score") == 0.1 + 0.2, "exact to the last bit"
    assert again.get(Spec((2, 4)), "latency_ms") is None
    assert again.get(Spec((2,)), "score") is None, "equal numbers of another count are another spec"
    assert (again.count("score"), again.count("latency_ms")) == (2, 1)


def test_a_cut_line_is_left_alone_and_what_follows_is_whole(tmp_path):
    path = tmp_path / "book.jsonl"
    for cut in ('{"spec": "2_3", "sco', "[]", "null", '{"score": 1.0}'):
        path.write_text('{"spec": "2_2", "score": 3.0}\n' + cut)
        ScoreBook(path).add(Spec((4, 4)), "score", 7.0)
        again = ScoreBook(path)
        assert (again.count("score"), again.get(Spec((4, 4)), "score")) == (2, 7.0)


def test_threads_and_books_share_a_file(tmp_path):
    path = tmp_path / "book.jsonl"
    books = [ScoreBook(path), ScoreBook(path)]

    def write(offset):
        for number in range(100):
            books[offset % 2].add(Spec((offset * 100 + number + 1,)), "score", float(number))

    threads = [threading.Thread(target=write, args=(offset,)) for offset in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(json.loads(line) for line in path.read_text().splitlines())
    assert ScoreBook(path).count("score") == 400


def test_discarded_book_is_gone(tmp_path):
    path = tmp_path / "book.jsonl"
    book = ScoreBook(path)
    book.add(Spec((2,)), "score", 1.0)
    book.discard()
    book.discard()
    assert not path.exists()
    ScoreBook().discard()
